package measure

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime/pprof"
	"strings"
)

// A profile is where a measurement's CPU profile goes. The zero profile takes none.
type profile struct {
	dir       string
	row, name string
	n         int // of the contestant's measurements, from 1
}

var unfit = regexp.MustCompile(`[^a-zA-Z0-9.]+`)

// file is the profile's name: what a shell wants quoted is a dash.
func (p profile) file() string {
	text := unfit.ReplaceAllString(fmt.Sprintf("%s-%s-%d", p.row, p.name, p.n), "-")
	return filepath.Join(p.dir, strings.ToLower(text)+".pprof")
}

// begin takes a profile until the function it returns is called.
func (p profile) begin() (end func() error, err error) {
	if p.dir == "" {
		return func() error { return nil }, nil
	}
	if err := os.MkdirAll(p.dir, 0o750); err != nil {
		return nil, fmt.Errorf("making the directory of profiles: %w", err)
	}
	f, err := os.Create(p.file())
	if err != nil {
		return nil, fmt.Errorf("writing a profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("taking a profile: %w", err)
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}
