package kafkatest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
)

// Prepare fills the cache, so that no test has to wait for it: 20 s the first time, nothing after that.
// Beside the jars it leaves an archive of the classes that a broker loads, which has it start a third
// sooner; only Prepare makes one, and a server starts without it too.
func Prepare(ctx context.Context) error {
	k, err := fetch(ctx)
	if err != nil {
		return err
	}
	unlock, err := lock(ctx, k.dir+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	name, err := k.archive()
	if err != nil {
		return err
	}
	if _, err := os.Stat(name); err == nil {
		return nil
	}
	return k.dump(ctx, name)
}

// archive is the name of the archive of classes, which is of one Java.
func (k kit) archive() (string, error) {
	java, err := filepath.EvalSymlinks(k.java)
	if err != nil {
		return "", fmt.Errorf("looking at Java: %w", err)
	}
	info, err := os.Stat(java)
	if err != nil {
		return "", fmt.Errorf("looking at Java: %w", err)
	}
	sum := sha256.Sum256(fmt.Append(nil, java, info.Size(), info.ModTime().UnixNano()))
	return filepath.Join(k.dir, fmt.Sprintf("classes-%x.jsa", sum[:4])), nil
}

// dump runs a broker until it answers and has its Java write down the classes it has. A Java that writes
// nothing has no such archives, which is no error.
func (k kit) dump(ctx context.Context, name string) error {
	temp := name + ".making"
	s, err := Start(ctx, Options{JVM: []string{"-XX:ArchiveClassesAtExit=" + temp}})
	if err != nil {
		return err
	}
	defer s.Stop()
	p, err := s.running()
	if err != nil {
		return err
	}
	if err := p.terminate(); err != nil {
		return err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		return fmt.Errorf("writing Kafka's classes: %w", context.Cause(ctx))
	}
	if err := os.Rename(temp, name); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("writing Kafka's classes: %w", err)
	}
	return nil
}

// flags are Java's: a heap for tests, the collector and the compiler that are up soonest, and the archive
// of classes if there is one.
func (k kit) flags() []string {
	flags := []string{"-Xms128m", "-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"}
	if name, err := k.archive(); err == nil {
		if _, err := os.Stat(name); err == nil {
			flags = append(flags, "-XX:SharedArchiveFile="+name)
		}
	}
	return flags
}
