package main

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"time"

	"example.com/bookinfo/googlebooks"
)

// logQueue is the maximum number of lines that wait for a slow log.
const logQueue = 1024

// logWriter writes lines to out in a goroutine of its own, each as soon as it
// can. If out blocks, as a full pipe does, callers do not wait: when the queue
// is full, further lines are lost.
type logWriter struct {
	out     io.Writer
	lines   chan []byte
	closing chan struct{}
	ended   chan struct{}
	lost    func() // called for each line that is lost
}

func newLogWriter(out io.Writer, lost func()) *logWriter {
	w := &logWriter{
		out:     out,
		lines:   make(chan []byte, logQueue),
		closing: make(chan struct{}),
		ended:   make(chan struct{}),
		lost:    lost,
	}
	go w.run()
	return w
}

// run writes lines until close is called and the queue is empty.
func (w *logWriter) run() {
	defer close(w.ended)
	for {
		select {
		case line := <-w.lines:
			w.writeOut(line)
		case <-w.closing:
			for len(w.lines) > 0 {
				w.writeOut(<-w.lines)
			}
			return
		}
	}
}

func (w *logWriter) writeOut(line []byte) {
	if _, err := w.out.Write(line); err != nil {
		w.lost()
	}
}

// Write implements io.Writer. It never blocks.
func (w *logWriter) Write(line []byte) (int, error) {
	select {
	case w.lines <- bytes.Clone(line):
	default:
		w.lost()
	}
	return len(line), nil
}

// close waits for the lines so far to be written, but for at most a second.
func (w *logWriter) close() {
	close(w.closing)
	select {
	case <-w.ended:
	case <-time.After(time.Second):
	}
}

// newLogger returns a logger that writes text if out is a terminal, and JSON
// lines otherwise, both through w. The function replace, which may be nil, edits
// attributes.
func newLogger(out, w io.Writer, level slog.Level, replace func([]string, slog.Attr) slog.Attr) *slog.Logger {
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: replace}
	if f, ok := out.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return slog.New(slog.NewTextHandler(w, options))
		}
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

// redactAttr returns a ReplaceAttr function that replaces the API key in strings.
func redactAttr(apiKey string) func([]string, slog.Attr) slog.Attr {
	return func(_ []string, a slog.Attr) slog.Attr {
		if a.Value.Kind() == slog.KindString {
			a.Value = slog.StringValue(googlebooks.Redact(a.Value.String(), apiKey))
		}
		return a
	}
}
