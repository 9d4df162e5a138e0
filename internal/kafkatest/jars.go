package kafkatest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// ErrMissing is why no server can be had on this machine. What it says is one line for who sits before it.
var ErrMissing = errors.New("no Kafka to test with")

// missing says what is missing, and what to do about it.
func missing(what string) error {
	return fmt.Errorf("%w: %s: install Java 17 or newer and Maven", ErrMissing, what)
}

const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>leat</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>` + Version + `</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>2.25.3</version>
    </dependency>
  </dependencies>
</project>
`

// copyDependencies is the goal that puts jars into a directory, of one version: what is in the cache
// shall not depend on the day.
const copyDependencies = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"

// kit is Kafka in the cache. A kit that is there is complete: it is made beside its place and renamed.
type kit struct {
	java string // the program
	dir  string
}

func (k kit) libs() string { return filepath.Join(k.dir, "libs") }

// bootstrap is the first record of the metadata log, as Kafka's format tool writes it. It is the same for
// every server, and copying it is a second faster than to run the tool again.
func (k kit) bootstrap() string { return filepath.Join(k.dir, bootstrapName) }

const bootstrapName = "bootstrap.checkpoint"

// classpath names the jars one by one: an archive of classes wants them in one order.
func (k kit) classpath() (string, error) {
	jars, err := filepath.Glob(filepath.Join(k.libs(), "*.jar"))
	if err != nil || len(jars) == 0 {
		return "", fmt.Errorf("there are no jars in %s: remove that directory", k.libs())
	}
	return strings.Join(jars, string(os.PathListSeparator)), nil
}

// cache is where the jars are kept.
func cache() (string, error) {
	if dir := os.Getenv("LEAT_CACHE"); dir != "" {
		dir, err := filepath.Abs(dir)
		if err != nil {
			return "", fmt.Errorf("finding the directory LEAT_CACHE: %w", err)
		}
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding a place for Kafka's jars: %w: set LEAT_CACHE to a directory", err)
	}
	return filepath.Join(dir, "leat"), nil
}

// fetch gives the kit of the cache, and makes it if it is not there: 8 s or more. Processes that want it at
// the same time wait for the one that makes it.
func fetch(ctx context.Context) (kit, error) {
	java, err := exec.LookPath("java")
	if err != nil {
		return kit{}, missing("java is not in PATH")
	}
	root, err := cache()
	if err != nil {
		return kit{}, err
	}
	k := kit{java: java, dir: place(root)}
	if k.complete() {
		return k, nil
	}
	if err := os.MkdirAll(root, 0o750); err != nil {
		return kit{}, fmt.Errorf("making the cache of Kafka's jars: %w", err)
	}
	unlock, err := lock(ctx, k.dir+".lock")
	if err != nil {
		return kit{}, err
	}
	defer unlock()
	if k.complete() {
		return k, nil
	}
	return k, k.make(ctx)
}

// place is where the jars of this pom are in a cache.
func place(cache string) string {
	sum := sha256.Sum256([]byte(pom))
	return filepath.Join(cache, fmt.Sprintf("kafka-%s-%x", Version, sum[:4]))
}

func (k kit) complete() bool {
	_, err := os.Stat(k.bootstrap())
	return err == nil
}

// make fetches the jars and has Kafka format a directory.
func (k kit) make(ctx context.Context) error {
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return missing("its jars are not in " + k.dir + ", and mvn is not in PATH")
	}
	temp := k.dir + ".making"
	_ = os.RemoveAll(temp)   // of a process that was killed: we have the lock
	defer os.RemoveAll(temp) //nolint:errcheck // it is renamed, or the next one tries
	if err := os.Mkdir(temp, 0o750); err != nil {
		return fmt.Errorf("making the cache of Kafka's jars: %w", err)
	}
	if err := os.WriteFile(filepath.Join(temp, "pom.xml"), []byte(pom), 0o600); err != nil {
		return fmt.Errorf("making the cache of Kafka's jars: %w", err)
	}
	made := kit{java: k.java, dir: temp}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, mvn, "--batch-mode", "--quiet", "--strict-checksums", //nolint:gosec // it is found in PATH
		"--file", filepath.Join(temp, "pom.xml"), copyDependencies, "-DoutputDirectory="+made.libs(), "-DincludeScope=runtime")
	if out, err := cmd.CombinedOutput(); err != nil {
		return missing(fmt.Sprintf("fetching its jars with mvn: %v: %s", err, firstError(out)))
	}
	if err := made.format(ctx); err != nil {
		return err
	}
	if err := os.Rename(temp, k.dir); err != nil {
		return fmt.Errorf("making the cache of Kafka's jars: %w", err)
	}
	return nil
}

// format has Kafka's tool write what every server begins with.
func (k kit) format(ctx context.Context) error {
	temp, err := os.MkdirTemp("", "leat-kafka-")
	if err != nil {
		return fmt.Errorf("formatting for Kafka: %w", err)
	}
	defer os.RemoveAll(temp) //nolint:errcheck // a temporary directory

	file := filepath.Join(temp, "server.properties")
	if err := os.WriteFile(file, properties(settings(temp, 9092, 9093, nil)), 0o600); err != nil {
		return fmt.Errorf("formatting for Kafka: %w", err)
	}
	cmd := exec.CommandContext(ctx, k.java, "-cp", filepath.Join(k.libs(), "*"), //nolint:gosec // it is found in PATH
		"kafka.tools.StorageTool", "format", "-t", clusterID, "-c", file)
	if out, err := cmd.CombinedOutput(); err != nil {
		if bytes.Contains(out, []byte(oldJava)) {
			return missing(k.java + " is older than 17")
		}
		return fmt.Errorf("formatting for Kafka: %w\n%s", err, tail(out))
	}
	written, err := os.ReadFile(filepath.Join(temp, "data", bootstrapName))
	if err != nil {
		return fmt.Errorf("formatting for Kafka: %w", err)
	}
	if err := os.WriteFile(k.bootstrap(), written, 0o600); err != nil { //nolint:gosec // the cache is where the user wants it
		return fmt.Errorf("formatting for Kafka: %w", err)
	}
	return nil
}

// oldJava is what a JVM says of jars that are newer than itself.
const oldJava = "UnsupportedClassVersionError"

// firstError is the line in which Maven says what is wrong; the rest of what it says is about itself.
func firstError(out []byte) string {
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "[ERROR]") {
			return strings.TrimSpace(strings.TrimPrefix(line, "[ERROR]"))
		}
	}
	return "it said nothing"
}
