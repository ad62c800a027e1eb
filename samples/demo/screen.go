package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"unicode/utf8"
)

const width = 78 // columns of text, within the 80 of a terminal

// The colours, as ANSI escape codes (ECMA-48, SGR).
const (
	bold    = "1"
	dim     = "2"
	red     = "31"
	green   = "32"
	yellow  = "33"
	magenta = "35"
	cyan    = "36"
)

// screen writes for a person: in colours where there is one to see them.
type screen struct {
	io.Writer

	colour  bool
	jsonKey *regexp.Regexp
	arrows  *regexp.Regexp
}

func newScreen(w io.Writer) screen {
	s := screen{Writer: w, jsonKey: regexp.MustCompile(`"[^"]+":`), arrows: regexp.MustCompile(`═+[^═]*═*▶|─+[^─]*─*▶|─+✗`)}
	if f, ok := w.(*os.File); ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" {
		info, err := f.Stat()
		s.colour = err == nil && info.Mode()&os.ModeCharDevice != 0
	}

	return s
}

func (s screen) paint(colour, text string) string {
	if !s.colour {
		return text
	}

	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

func (s screen) line(format string, args ...any) { fmt.Fprintf(s, format+"\n", args...) }

// prose writes a paragraph.
func (s screen) prose(indent, text string) {
	for _, line := range wrap(strings.SplitAfter(text, " "), width-len(indent)) {
		s.line("%s%s", indent, line)
	}
}

// heading writes a title, with something at the right of it, above a rule.
func (s screen) heading(left, right string) {
	gap := strings.Repeat(" ", width-2-utf8.RuneCountInString(left+right))
	s.line("\n  %s%s", s.paint(bold, left), strings.TrimRight(gap+s.paint(dim, right), " "))
	s.line("  %s", s.paint(dim, strings.Repeat("─", width-2)))
}

// drawing writes who calls whom: what is encrypted in green.
func (s screen) drawing(text string) {
	s.line("     %s", s.arrows.ReplaceAllStringFunc(text, func(arrow string) string {
		switch {
		case strings.HasPrefix(arrow, "═"):
			return s.paint(green, arrow)
		case strings.HasSuffix(arrow, "✗"):
			return s.paint(red, arrow)
		}

		return s.paint(yellow, arrow)
	}))
}

// json writes a JSON object as it came, on as many lines as it needs.
func (s screen) json(body string) {
	separator := ","
	if strings.HasPrefix(body, `{"error"`) {
		separator = " "
	}
	for i, line := range wrap(strings.SplitAfter(body, separator), width-6) {
		line = s.jsonKey.ReplaceAllStringFunc(line, func(key string) string { return s.paint(cyan, key) })
		s.line("     %s%s", strings.Repeat(" ", min(i, 1)), line)
	}
}

// sighting writes what somebody in between saw.
func (s screen) sighting(prefix string, saw sighting) {
	colour := map[string]string{"sidecar log": magenta, "mesh log": red}[saw.who]
	if colour == "" {
		colour = green
	}
	s.line("%s%s  %s", prefix, s.paint(colour, fmt.Sprintf("%-11s", saw.who)), saw.what)
}

// wrap joins the pieces of a text to lines no longer than limit.
func wrap(pieces []string, limit int) []string {
	lines := []string{""}
	for _, piece := range pieces {
		last := &lines[len(lines)-1]
		if *last != "" && utf8.RuneCountInString(strings.TrimRight(*last+piece, " ")) > limit {
			lines = append(lines, piece)
		} else {
			*last += piece
		}
	}
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}

	return lines
}
