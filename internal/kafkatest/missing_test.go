package kafkatest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// tools puts programs, by name, into a directory that is all of PATH besides the system's own.
func tools(t *testing.T, programs map[string]string) (path string) {
	t.Helper()
	dir := t.TempDir()
	for name, script := range programs {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\nPATH=/usr/bin:/bin\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Programs that stand for Maven and for Java's run of Kafka's format tool.
const (
	mavenWorks = `echo run >>"$0.runs"
for arg; do case $arg in -DoutputDirectory=*) mkdir "${arg#*=}" && : >"${arg#*=}/kafka.jar";; esac; done`
	mavenFails = `echo "[ERROR] Could not transfer artifact from central: unknown host"; echo "[ERROR] more"; exit 1`
	javaWorks  = `for arg; do :; done; d=$(sed -n 's/^log.dirs=//p' "$arg"); mkdir -p "$d"; : >"$d/bootstrap.checkpoint"`
	javaIsOld  = `echo "java.lang.UnsupportedClassVersionError: kafka/Kafka"; exit 1`
)

func TestWithoutAServerATestIsSkippedOrFailsInCI(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		programs map[string]string
		test     string
		says     string
	}{
		"no java": {
			nil, "TestSharedKeepsMessages",
			"no Kafka to test with: java is not in PATH: install Java 17 or newer and Maven, or set LEAT_KAFKA=host:port of a broker (compose.yaml has one)",
		},
		"no java, and a broker to kill": {
			nil, "TestKilledServerComesBackOnItsData",
			"java is not in PATH: install Java 17 or newer and Maven; this test has a broker of its own, so that LEAT_KAFKA does not help",
		},
		"no maven":         {map[string]string{"java": javaWorks}, "TestSharedKeepsMessages", "mvn is not in PATH: install"},
		"maven is offline": {map[string]string{"java": javaWorks, "mvn": mavenFails}, "TestSharedKeepsMessages", "unknown host: install"},
		"java is too old":  {map[string]string{"java": javaIsOld, "mvn": mavenWorks}, "TestSharedKeepsMessages", "is older than 17: install"},
	}
	for name, tt := range tests {
		for ci, want := range map[string]string{"": "--- SKIP", "true": "--- FAIL"} {
			t.Run(name+strings.ReplaceAll(want, "---", ""), func(t *testing.T) {
				t.Parallel()

				cmd := exec.Command(os.Args[0], "-test.v", "-test.run=^"+tt.test+"$")
				cmd.Env = append(os.Environ(), "PATH="+tools(t, tt.programs), "LEAT_CACHE="+t.TempDir(), "LEAT_KAFKA=", "CI="+ci)
				out, _ := cmd.CombinedOutput()
				if !strings.Contains(string(out), want) {
					t.Errorf("no %s in:\n%s", want, out)
				}
				var said []string
				for line := range strings.Lines(string(out)) {
					if strings.Contains(line, "no Kafka to test with") {
						said = append(said, line)
					}
				}
				if len(said) != 1 || !strings.Contains(said[0], tt.says) {
					t.Errorf("want one line with %q, got %q in:\n%s", tt.says, said, out)
				}
			})
		}
	}
}

func TestCacheIsFilledOnce(t *testing.T) {
	dir := tools(t, map[string]string{"java": javaWorks, "mvn": mavenWorks})
	t.Setenv("PATH", dir)
	t.Setenv("LEAT_CACHE", t.TempDir())
	if err := os.Mkdir(place(os.Getenv("LEAT_CACHE"))+".making", 0o755); err != nil { // of one that was killed
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			k, err := fetch(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			if path, err := k.classpath(); err != nil || path != filepath.Join(k.libs(), "kafka.jar") {
				t.Errorf("the classpath is %q, %v", path, err)
			}
		})
	}
	all.Wait()
	if runs, err := os.ReadFile(filepath.Join(dir, "mvn.runs")); string(runs) != "run\n" {
		t.Errorf("maven ran %q, %v, want once", runs, err)
	}
}

func TestWhatWasNotFetchedIsNotInTheCache(t *testing.T) {
	t.Setenv("PATH", tools(t, map[string]string{"java": javaIsOld, "mvn": mavenWorks}))
	t.Setenv("LEAT_CACHE", t.TempDir())
	if _, err := fetch(t.Context()); err == nil {
		t.Fatal("fetched with a Java that runs nothing")
	}
	left, err := filepath.Glob(filepath.Join(os.Getenv("LEAT_CACHE"), "*"))
	if err != nil || len(left) != 1 || !strings.HasSuffix(left[0], ".lock") {
		t.Errorf("left in the cache: %q, %v, want the lock alone", left, err)
	}
}

func TestSharedIsTheBrokerOfTheUser(t *testing.T) {
	t.Setenv("LEAT_KAFKA", "kafka.example:9092")
	t.Setenv("PATH", "")
	t.Setenv("CI", "true") // no skip
	s := Shared(t)
	if s.Addr() != "kafka.example:9092" {
		t.Errorf("the address is %s", s.Addr())
	}
	for name, err := range map[string]error{"Kill": s.Kill(), "Restart": s.Restart(t.Context()), "Suspend": s.Suspend(), "Resume": s.Resume()} {
		if err == nil {
			t.Errorf("%s did something to the user's broker", name)
		}
	}
	s.Stop()
}
