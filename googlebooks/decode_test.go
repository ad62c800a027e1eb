package googlebooks

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// comedy is an answer as Google gives it, with what is not needed left out.
const comedy = `{
  "kind": "books#volumes",
  "totalItems": 1,
  "items": [{
    "kind": "books#volume",
    "volumeInfo": {
      "title": "The Comedy of Errors",
      "authors": ["William Shakespeare"],
      "publisher": "Courier Corporation",
      "publishedDate": "2002-09-19",
      "industryIdentifiers": [
        {"type": "ISBN_13", "identifier": "9780486424613"},
        {"type": "ISBN_10", "identifier": "0486424618"}
      ],
      "pageCount": 53,
      "printType": "BOOK",
      "language": "en"
    },
    "saleInfo": {"offers": [{"listPrice": {"amountInMicros": 2.0893E8}}]}
  }]
}`

func comedyVolume() *Volume {
	return &Volume{
		Authors:       []*string{new("William Shakespeare")},
		Publisher:     new("Courier Corporation"),
		PublishedDate: new("2002-09-19"),
		IndustryIdentifiers: []Identifier{
			{Type: "ISBN_13", Identifier: new("9780486424613")}, {Type: "ISBN_10", Identifier: new("0486424618")},
		},
		PageCount: new(int64(53)),
		PrintType: new("BOOK"),
		Language:  new("en"),
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	got, err := decodeVolume([]byte(comedy), "0486424618")
	require.NoError(t, err)
	assert.Equal(t, comedyVolume(), got)
}

// volumeWith returns an answer with one volume of which only these members are given.
func volumeWith(members string) string {
	return `{"totalItems":1,"items":[{"volumeInfo":{` + members + `}}]}`
}

func TestDecodeMembers(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		body string
		want Volume
	}{
		"nothing known": {volumeWith(``), Volume{}},
		"no volumeInfo": {`{"items":[{"id":"x"}]}`, Volume{}},
		"all null": {
			body: volumeWith(`"authors":null,"publisher":null,"publishedDate":null,"industryIdentifiers":null,"pageCount":null,"printType":null,"language":null`),
			want: Volume{},
		},
		"no pages is not zero pages": {volumeWith(`"pageCount":0`), Volume{PageCount: new(int64(0))}},
		"empty is not absent": {
			body: volumeWith(`"publisher":"","authors":[]`),
			want: Volume{Publisher: new(""), Authors: []*string{}},
		},
		"author of no name": {volumeWith(`"authors":[null,"B"]`), Volume{Authors: []*string{nil, new("B")}}},
		"identifier without number": {
			body: volumeWith(`"industryIdentifiers":[{"type":"ISBN_10"}]`),
			want: Volume{IndustryIdentifiers: []Identifier{{Type: "ISBN_10"}}},
		},
		"escapes": {
			body: volumeWith(`"publisher":"\u00e9 \ud83d\ude00 \u2028 \u0001"`),
			want: Volume{Publisher: new("é 😀 \u2028 \x01")},
		},
		"raw": {
			body: volumeWith(`"publisher":"é 😀 <&> ` + "\u2028\ufffd\u0096" + `"`),
			want: Volume{Publisher: new("é 😀 <&> \u2028\ufffd\u0096")},
		},
		"the last of twins wins":    {volumeWith(`"pageCount":1,"pageCount":2`), Volume{PageCount: new(int64(2))}},
		"the last of twins is null": {volumeWith(`"pageCount":1,"pageCount":null`), Volume{}},
		"the last of twin lists": {
			body: volumeWith(`"authors":["A","B"],"authors":["C"]`),
			want: Volume{Authors: []*string{new("C")}},
		},
		"the last of twin items": {
			body: `{"items":[{"volumeInfo":{"pageCount":1}}],"items":[{"volumeInfo":{"language":"en"}}]}`,
			want: Volume{Language: new("en")},
		},
		"odd types where not needed": {
			`{"kind":1,"totalItems":"many","items":[{"id":[],"volumeInfo":{"title":7,"description":{},"pageCount":53},"saleInfo":[1e400]}]}`,
			Volume{PageCount: new(int64(53))},
		},
		"another key by its case": {volumeWith(`"PageCount":1,"Authors":3`), Volume{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := decodeVolume([]byte(tc.body), "0486424618")
			require.NoError(t, err)
			assert.Equal(t, tc.want, *got)
		})
	}
}

func TestDecodePicksTheEditionAskedFor(t *testing.T) {
	t.Parallel()
	const editions = `{"items":[
		{"volumeInfo":{"pageCount":1,"industryIdentifiers":[{"type":"ISBN_13","identifier":"9781101477816"},{"type":"OTHER","identifier":"0486424618"}]}},
		{"volumeInfo":{"pageCount":2}},
		{"volumeInfo":{"pageCount":3,"industryIdentifiers":[{"type":"ISBN_13"},{"type":"ISBN_10","identifier":"0-486-42461-8"}]}}
	]}`
	for name, tc := range map[string]struct {
		isbn ISBN
		want int64
	}{
		"by ISBN-10":           {"0486424618", 3},
		"by ISBN-13":           {"9780486424613", 3},
		"the first":            {"9781101477816", 1},
		"none has it: as Ruby": {"9780141439518", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := decodeVolume([]byte(editions), tc.isbn)
			require.NoError(t, err)
			assert.Equal(t, tc.want, *got.PageCount)
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"nothing":            "",
		"null":               "null",
		"a number":           "1",
		"no volumes.list":    "{}",
		"HTML":               "<!DOCTYPE html><title>Error</title>",
		"rubbish after it":   comedy + "x",
		"a second value":     comedy + "{}",
		"a comment":          "/* */" + comedy,
		"items an object":    `{"items":{}}`,
		"volumeInfo a list":  `{"items":[{"volumeInfo":[]}]}`,
		"author a string":    volumeWith(`"authors":"A"`),
		"pages a string":     volumeWith(`"pageCount":"53"`),
		"pages past 64 bits": volumeWith(`"pageCount":123456789012345678901234567890`),
		"publisher a number": volumeWith(`"publisher":1`),
		"identifiers a map":  volumeWith(`"industryIdentifiers":{}`),
		"identifier number":  volumeWith(`"industryIdentifiers":[{"type":"ISBN_13","identifier":13}]`),
		"invalid UTF-8":      volumeWith(`"publisher":"a` + "\xff" + `b"`),
		"UTF-8, not needed":  volumeWith(`"title":"a` + "\xff" + `b"`),
		"a lone surrogate":   volumeWith(`"publisher":"a\ud800b"`),
		"a raw newline":      volumeWith("\"publisher\":\"a\nb\""),
		"a cut answer":       comedy[:len(comedy)/2],
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := decodeVolume([]byte(body), "0486424618")
			require.Error(t, err)
			assert.NotErrorIs(t, err, ErrNotFound)
		})
	}
}

// TestDecodeOddFieldOfAnotherVolume: only the volume that is returned must be
// readable.
func TestDecodeOddFieldOfAnotherVolume(t *testing.T) {
	t.Parallel()
	const right = `{"volumeInfo":{"language":"en","industryIdentifiers":[{"type":"ISBN_10","identifier":"0486424618"}]}}`
	const odd = `{"volumeInfo":{"pageCount":80.0}}`
	const rightButOdd = `{"volumeInfo":{"pageCount":80.0,"industryIdentifiers":[{"type":"ISBN_10","identifier":"0486424618"}]}}`
	for name, tc := range map[string]struct {
		items string
		err   string
	}{
		"after it":                   {items: right + "," + odd},
		"before it":                  {items: odd + "," + right},
		"another kind":               {items: `"text",` + right},
		"of the right volume":        {items: `{"volumeInfo":{}},` + rightButOdd, err: "pageCount"},
		"of the first, none matches": {items: odd + `,{"volumeInfo":{}}`, err: "pageCount"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := decodeVolume([]byte(`{"items":[`+tc.items+`]}`), "0486424618")
			if tc.err != "" {
				require.ErrorContains(t, err, tc.err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, new("en"), got.Language)
		})
	}
}

func TestDecodeCutAtEveryByte(t *testing.T) {
	t.Parallel()
	for i := range comedy {
		_, err := decodeVolume([]byte(comedy[:i]), "0486424618")
		require.Error(t, err, "cut after %d bytes", i)
	}
}

func TestDecodeFindsNothing(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"no items":      `{"kind":"books#volumes","totalItems":0}`,
		"a fields mask": `{"totalItems": 0}`,
		"empty items":   `{"totalItems":0,"items":[]}`,
		"null items":    `{"totalItems":0,"items":null}`,
		"an estimate":   `{"totalItems":300}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := decodeVolume([]byte(body), "0486424618")
			assert.ErrorIs(t, err, ErrNotFound)
		})
	}
}

func FuzzDecode(f *testing.F) {
	for _, body := range []string{comedy, volumeWith(``), `{"totalItems":0}`, "null", volumeWith(`"pageCount":1,"pageCount":null`), strings.Repeat("[", 2000)} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := decodeVolume(body, "0486424618")
		if err != nil {
			assert.Nil(t, v)
			return
		}
		assert.True(t, json.Valid(body), "what encoding/json refuses is refused here too")
	})
}

func BenchmarkDecode(b *testing.B) {
	b.SetBytes(int64(len(comedy)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeVolume([]byte(comedy), "0486424618"); err != nil {
			b.Fatal(err)
		}
	}
}
