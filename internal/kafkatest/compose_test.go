package kafkatest

import (
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestComposeIsTheSameKafka holds the compose file against the helper: the version, an address on this
// machine alone, and settings that agree.
func TestComposeIsTheSameKafka(t *testing.T) {
	t.Parallel()

	text, err := os.ReadFile("../../compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Services map[string]struct {
			Image       string
			Ports       []string
			Environment map[string]string
			Healthcheck map[string]any
		}
	}
	d := yaml.NewDecoder(strings.NewReader(string(text)))
	d.KnownFields(true)
	if err := d.Decode(&file); err != nil {
		t.Fatal(err)
	}
	kafka, ok := file.Services["kafka"]
	if !ok {
		t.Fatal("there is no service kafka")
	}
	if want := "apache/kafka:" + Version; kafka.Image != want {
		t.Errorf("the image is %s, want %s", kafka.Image, want)
	}
	addr := address(9092)
	if len(kafka.Ports) != 1 || kafka.Ports[0] != addr+":9092" {
		t.Errorf("the ports are %q, want %s:9092 alone", kafka.Ports, addr)
	}
	if !strings.Contains(string(text), "LEAT_KAFKA="+addr+" make test") {
		t.Errorf("its head does not say LEAT_KAFKA=%s make test", addr)
	}
	ours := settings("", 9092, 9093, nil)
	for name, value := range kafka.Environment {
		property := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "KAFKA_"), "_", "."))
		switch want, ok := ours[property]; {
		case !ok:
			t.Errorf("%s is no setting of ours: %s", name, property)
		case property == "listeners" || property == "controller.quorum.voters":
			// Within a container the addresses are its own.
		case value != want:
			t.Errorf("%s is %q, want %q", name, value, want)
		}
	}
}
