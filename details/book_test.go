package details

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/googlebooks"
)

const emptyBook = `{"id":0,"author":null,"year":null,"type":"unknown","pages":null,"publisher":null,` +
	`"language":"unknown","ISBN-10":null,"ISBN-13":null}`

func TestBookOf(t *testing.T) {
	t.Parallel()
	type volume = googlebooks.Volume
	for name, tc := range map[string]struct {
		id     int64
		change func(v *volume)
		want   []string // replacements in comedyBook: old, new, …
	}{
		"unchanged":     {change: func(*volume) {}},
		"another id":    {7, func(*volume) {}, []string{`"id":0`, `"id":7`}},
		"nothing known": {0, func(v *volume) { *v = volume{} }, []string{comedyBook, emptyBook}},
		"two authors": {
			change: func(v *volume) { v.Authors = []*string{new("A"), new("B")} },
			want:   []string{"William Shakespeare", "A"},
		},
		"no authors": {0, func(v *volume) { v.Authors = []*string{} }, []string{`"William Shakespeare"`, "null"}},
		"null author": {
			change: func(v *volume) { v.Authors = []*string{nil, new("B")} },
			want:   []string{`"William Shakespeare"`, "null"},
		},
		"magazine":        {0, func(v *volume) { v.PrintType = new("MAGAZINE") }, []string{"paperback", "unknown"}},
		"language EN":     {0, func(v *volume) { v.Language = new("EN") }, []string{"English", "unknown"}},
		"empty publisher": {0, func(v *volume) { v.Publisher = new("") }, []string{"Courier Corporation", ""}},
		"one ISBN": {
			change: func(v *volume) { v.IndustryIdentifiers = v.IndustryIdentifiers[:1] },
			want:   []string{`"0486424618"`, "null"},
		},
		"number of another type": {
			change: func(v *volume) { v.IndustryIdentifiers[0].Type = "OTHER" },
			want:   []string{`"9780486424613"`, "null"},
		},
		"first of its type": {
			change: func(v *volume) { v.IndustryIdentifiers[0].Type = "ISBN_10" },
			want:   []string{"0486424618", "9780486424613", `"9780486424613"`, "null"},
		},
		"null number": {
			change: func(v *volume) { v.IndustryIdentifiers[1].Identifier = nil },
			want:   []string{`"0486424618"`, "null"},
		},
		"Ruby's escapes": { // as recorded from details.rb
			change: func(v *volume) {
				v.Publisher = new("<b>&'\"/\\\t\n\r\b\f\x01\x1f\x7f é \u2028 \u2029 \u0096 \ufffd 😀")
			},
			want: []string{"Courier Corporation", `<b>&'\"/\\\t\n\r\b\f\u0001\u001f` + "\x7f é \u2028 \u2029 \u0096 \ufffd 😀"},
		},
	} {
		v := comedy()
		tc.change(v)
		got, err := json.Marshal(bookOf(tc.id, v))
		require.NoError(t, err)
		assert.Equal(t, strings.NewReplacer(tc.want...).Replace(comedyBook), string(got), name)
	}
}
