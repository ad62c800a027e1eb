package main

import (
	"bufio"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

// Lines wait this long, or for so many bytes, to be written together: a write
// for each costs a twentieth of all that a request takes.
const (
	logDelay = 50 * time.Millisecond
	logBytes = 32 << 10
)

// logSink is where loggers write: JSON lines in batches or, where a person
// reads them, text at once.
type logSink struct {
	level    slog.Level
	out      io.Writer
	terminal bool

	mu      sync.Mutex
	batch   *bufio.Writer
	waiting bool // for the flush that is due
}

func newLogSink(out io.Writer, level slog.Level) *logSink {
	l := &logSink{level: level, out: out, batch: bufio.NewWriterSize(out, logBytes)}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		l.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}

	return l
}

func (l *logSink) logger(replace func([]string, slog.Attr) slog.Attr) *slog.Logger {
	options := &slog.HandlerOptions{Level: l.level, ReplaceAttr: replace}
	if l.terminal {
		return slog.New(slog.NewTextHandler(l.out, options))
	}

	return slog.New(slog.NewJSONHandler(l, options))
}

// Write implements io.Writer for JSON lines.
func (l *logSink) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.waiting {
		l.waiting = true
		time.AfterFunc(logDelay, l.flush)
	}

	return l.batch.Write(line)
}

// flush writes what waits.
func (l *logSink) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = false
	if l.batch.Flush() != nil {
		l.batch.Reset(l.out) // or it would refuse all that comes after, when the disk has room again
	}
}

// without is a ReplaceAttr that takes a secret, if there is one, out of texts.
func without(secret string) func([]string, slog.Attr) slog.Attr {
	return func(_ []string, a slog.Attr) slog.Attr {
		if secret != "" && a.Value.Kind() == slog.KindString {
			a.Value = slog.StringValue(strings.ReplaceAll(a.Value.String(), secret, "[API key]"))
		}

		return a
	}
}
