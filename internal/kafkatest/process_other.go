//go:build !unix

package kafkatest

import (
	"context"
	"os"
)

// A process is not started here: it could outlive us.
type process struct{ done chan struct{} }

func launch(string, *os.File, string, ...string) (*process, error) { return nil, elsewhere() }

func lock(context.Context, string) (unlock func(), err error) { return nil, elsewhere() }

func elsewhere() error { return missing("servers are started on Unix alone") }

func (p *process) kill()            {}
func (p *process) suspend() error   { return elsewhere() }
func (p *process) resume() error    { return elsewhere() }
func (p *process) terminate() error { return elsewhere() }
