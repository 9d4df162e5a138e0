package measure

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// A Machine is where and when a report was made.
type Machine struct {
	Go    string    `json:"go"`
	OS    string    `json:"os"`
	Arch  string    `json:"arch"`
	CPU   string    `json:"cpu"` // the model, as far as the system tells
	CPUs  int       `json:"cpus"`
	Procs int       `json:"gomaxprocs"`
	Date  time.Time `json:"date"`
}

// ThisMachine describes the one the program runs on.
func ThisMachine() Machine {
	return Machine{
		Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, CPU: cpuModel("/proc/cpuinfo"),
		CPUs: runtime.NumCPU(), Procs: runtime.GOMAXPROCS(0), Date: time.Now().UTC().Truncate(time.Second),
	}
}

// String gives the machine in one line.
func (m Machine) String() string {
	return fmt.Sprintf("%s, %s %s/%s, GOMAXPROCS %d of %d, CPU %s",
		m.Date.Format(time.DateTime), m.Go, m.OS, m.Arch, m.Procs, m.CPUs, m.CPU)
}

// cpuModel reads the model's name where Linux has it.
func cpuModel(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return "of unknown model"
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, value, found := strings.Cut(lines.Text(), ":")
		if found && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "of unknown model"
}
