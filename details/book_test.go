package details

import (
	jsonv1 "encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/bookinfo/googlebooks"
)

// comedy is the volume of the walk-throughs.
func comedy() *googlebooks.Volume {
	return &googlebooks.Volume{
		Authors:       []*string{new("William Shakespeare")},
		Publisher:     new("Courier Corporation"),
		PublishedDate: new("2002-09-19"),
		IndustryIdentifiers: []googlebooks.Identifier{
			{Type: "ISBN_13", Identifier: new("9780486424613")}, {Type: "ISBN_10", Identifier: new("0486424618")},
		},
		PageCount: new(int64(53)),
		PrintType: new("BOOK"),
		Language:  new("en"),
	}
}

const comedyBook = `{"id":0,"author":"William Shakespeare","year":"2002-09-19","type":"paperback","pages":53,` +
	`"publisher":"Courier Corporation","language":"English","ISBN-10":"0486424618","ISBN-13":"9780486424613"}`

const emptyBook = `{"id":0,"author":null,"year":null,"type":"unknown","pages":null,"publisher":null,"language":"unknown","ISBN-10":null,"ISBN-13":null}`

func TestBookOf(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		id     int64
		change func(v *googlebooks.Volume)
		want   []string // what differs from comedyBook: old, new, …
	}{
		"as it is": {change: func(*googlebooks.Volume) {}},
		"id":       {id: 7, change: func(*googlebooks.Volume) {}, want: []string{`"id":0`, `"id":7`}},
		"id below zero": {
			id:     -1 << 63,
			change: func(*googlebooks.Volume) {},
			want:   []string{`"id":0`, `"id":-9223372036854775808`},
		},
		"nothing known": {
			change: func(v *googlebooks.Volume) { *v = googlebooks.Volume{} },
			want:   []string{comedyBook, emptyBook},
		},
		"first author": {
			change: func(v *googlebooks.Volume) { v.Authors = []*string{new("A"), new("B")} },
			want:   []string{"William Shakespeare", "A"},
		},
		"no authors": {
			change: func(v *googlebooks.Volume) { v.Authors = []*string{} },
			want:   []string{`"William Shakespeare"`, "null"},
		},
		"author of no name": {
			change: func(v *googlebooks.Volume) { v.Authors = []*string{nil, new("B")} },
			want:   []string{`"William Shakespeare"`, "null"},
		},
		"year alone": {
			change: func(v *googlebooks.Volume) { v.PublishedDate = new("19??") },
			want:   []string{"2002-09-19", "19??"},
		},
		"magazine": {
			change: func(v *googlebooks.Volume) { v.PrintType = new("MAGAZINE") },
			want:   []string{"paperback", "unknown"},
		},
		"another language": {
			change: func(v *googlebooks.Volume) { v.Language = new("pt-BR") },
			want:   []string{"English", "unknown"},
		},
		"English elsewhere": {
			change: func(v *googlebooks.Volume) { v.Language = new("EN") },
			want:   []string{"English", "unknown"},
		},
		"zero pages": {
			change: func(v *googlebooks.Volume) { v.PageCount = new(int64(0)) },
			want:   []string{":53", ":0"},
		},
		"empty publisher": {
			change: func(v *googlebooks.Volume) { v.Publisher = new("") },
			want:   []string{"Courier Corporation", ""},
		},
		"one ISBN": {
			change: func(v *googlebooks.Volume) { v.IndustryIdentifiers = v.IndustryIdentifiers[:1] },
			want:   []string{`"0486424618"`, "null"},
		},
		"other numbers": {
			change: func(v *googlebooks.Volume) { v.IndustryIdentifiers[0].Type = "OTHER" },
			want:   []string{`"9780486424613"`, "null"},
		},
		"first of its type": {
			change: func(v *googlebooks.Volume) { v.IndustryIdentifiers[0].Type = "ISBN_10" },
			want:   []string{"0486424618", "9780486424613", `"9780486424613"`, "null"},
		},
		"number left out": {
			change: func(v *googlebooks.Volume) { v.IndustryIdentifiers[1].Identifier = nil },
			want:   []string{`"0486424618"`, "null"},
		},
		"Ruby's escapes": { // as recorded from details.rb
			change: func(v *googlebooks.Volume) {
				v.Publisher = new("<b>&'\"/\\\t\n\r\b\f\x01\x1f\x7f é \u2028 \u2029 \u0096 \ufffd 😀")
			},
			want: []string{"Courier Corporation", `<b>&'\"/\\\t\n\r\b\f\u0001\u001f` + "\x7f é \u2028 \u2029 \u0096 \ufffd 😀"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := comedy()
			tc.change(v)
			got, err := json.Marshal(bookOf(tc.id, v))
			require.NoError(t, err)
			assert.Equal(t, strings.NewReplacer(tc.want...).Replace(comedyBook), string(got))
		})
	}
}

func FuzzBookOf(f *testing.F) {
	f.Add(int64(0), "William Shakespeare", "2002-09-19", "BOOK", int64(53), "Courier Corporation", "en", "0486424618")
	f.Add(int64(-1), "<&>\u2028\x00\"\\", "", "book", int64(-1), "\u009b", "EN", "\ud7ff")
	f.Fuzz(func(t *testing.T, id int64, author, year, kind string, pages int64, publisher, language, isbn string) {
		b, err := json.Marshal(bookOf(id, &googlebooks.Volume{
			Authors: []*string{&author}, PublishedDate: &year, PrintType: &kind, PageCount: &pages, Publisher: &publisher,
			Language: &language, IndustryIdentifiers: []googlebooks.Identifier{{Type: "ISBN_13", Identifier: &isbn}},
		}))
		if err != nil {
			valid := utf8.ValidString(strings.Join([]string{author, year, publisher, isbn}, " "))
			assert.False(t, valid, "only invalid UTF-8, which no decoder returns, cannot be written")
			return
		}
		var got map[string]any
		require.NoError(t, jsonv1.Unmarshal(b, &got), "%s", b) // another decoder than the service's
		require.Len(t, got, 9)
		assert.Equal(t, author, got["author"])
		assert.Equal(t, publisher, got["publisher"])
		assert.Nil(t, got["ISBN-10"])
		assert.NotContains(t, string(b), "\n")
	})
}

// comedyAnswer is Google's answer with the volume of the walk-throughs.
const comedyAnswer = `{"kind":"books#volumes","totalItems":1,"items":[{"kind":"books#volume","volumeInfo":{
	"title":"The Comedy of Errors","authors":["William Shakespeare"],"publisher":"Courier Corporation","publishedDate":"2002-09-19",
	"industryIdentifiers":[{"type":"ISBN_13","identifier":"9780486424613"},{"type":"ISBN_10","identifier":"0486424618"}],
	"pageCount":53,"printType":"BOOK","language":"en"}}]}`
