package flow

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/leat-go/leat/tracing"
)

// A notice is one kind of trouble of a step that is logged as it begins and then at most once in
// noticePause, with how often it came: an outage that a thousand messages meet is one line.
type notice struct {
	at   atomic.Int64 // when the latest line was written, Unix nanoseconds
	more atomic.Int64 // times since
}

// The kinds.
const (
	noticePublish = iota // what a message caused cannot be published
	noticeSettle         // what is owed after the publish cannot be paid
	noticeLater          // something that the step needs is busy or down
	noticeLetter         // there is no dead letter to go to
	noticeLost           // a best-effort delivery is lost
	noticeBlind          // OpenTelemetry panicked
	notices
)

const noticePause = time.Minute

// noticeAfter is how many pauses of a message in a row are worth a line: a store that is busy for a moment
// is not.
const noticeAfter = 5

// warn logs trouble of the message's step, unless that was done less than a minute ago.
func (w *work) warn(kind int, text string, err error, args ...any) {
	n := &w.in.step.notices[kind]
	now, at := time.Now().UnixNano(), n.at.Load()
	if at != 0 && now-at < int64(noticePause) || !n.at.CompareAndSwap(at, now) {
		n.more.Add(1)
		return
	}
	if more := n.more.Swap(0); more > 0 {
		args = append(args, slog.Int64(tracing.LogMore, more))
	}
	w.log().WarnContext(w.within(), text, append(args, slog.Any(tracing.LogError, err))...)
}
