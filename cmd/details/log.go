package main

import (
	"io"
	"log/slog"
	"os"

	"example.com/bookinfo/googlebooks"
)

// newLogger returns a logger that writes text to a terminal and JSON lines to
// anything else. The function replace, which may be nil, edits attributes.
func newLogger(out io.Writer, level slog.Level, replace func([]string, slog.Attr) slog.Attr) *slog.Logger {
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: replace}
	if f, ok := out.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return slog.New(slog.NewTextHandler(out, options))
		}
	}
	return slog.New(slog.NewJSONHandler(out, options))
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
