package googlebooks

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// comedy is one of Google's answers, without most of what is not needed.
const comedy = `{"kind": "books#volumes", "totalItems": 1, "items": [{"kind": "books#volume", "volumeInfo": {
	"title": "The Comedy of Errors", "authors": ["William Shakespeare"], "publisher": "Courier Corporation",
	"publishedDate": "2002-09-19", "industryIdentifiers": [
		{"type": "ISBN_13", "identifier": "9780486424613"}, {"type": "ISBN_10", "identifier": "0486424618"}],
	"pageCount": 53, "printType": "BOOK", "language": "en"},
	"saleInfo": {"offers": [{"listPrice": {"amountInMicros": 2.0893E8}}]}}]}`

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

// volumeWith returns an answer with one volume that has only these members.
func volumeWith(members string) string {
	return `{"totalItems":1,"items":[{"volumeInfo":{` + members + `}}]}`
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		body string
		want Volume
	}{
		"a whole answer": {comedy, *comedyVolume()},
		"no volumeInfo":  {`{"items":[{"id":"x"}]}`, Volume{}},
		"all null": {
			body: volumeWith(`"authors":null,"publisher":null,"publishedDate":null,"industryIdentifiers":null,` +
				`"pageCount":null,"printType":null,"language":null`),
		},
		"zero is not null":        {volumeWith(`"pageCount":0`), Volume{PageCount: new(int64(0))}},
		"author without name":     {volumeWith(`"authors":[null,"B"]`), Volume{Authors: []*string{nil, new("B")}}},
		"the last duplicate wins": {volumeWith(`"pageCount":1,"pageCount":2`), Volume{PageCount: new(int64(2))}},
		"key in another case":     {volumeWith(`"PageCount":1,"Authors":3`), Volume{}},
		"escapes":                 {volumeWith(`"publisher":"\u00e9 \ud83d\ude00"`), Volume{Publisher: new("é 😀")}},
		"bad characters": {
			body: "\ufeff" + volumeWith(`"publisher":"a`+"\xff"+`b","publishedDate":"\udc00\ud83d 1\ud83d","title":"`+"\xed\xa0\x80"+`"`),
			want: Volume{Publisher: new("a\ufffdb"), PublishedDate: new("\ufffd\ufffd 1\ufffd")},
		},
		"a null item first": {`{"items":[null,{"volumeInfo":{"pageCount":1}}]}`, Volume{PageCount: new(int64(1))}},
		"odd types in other fields": {
			body: `{"kind":1,"totalItems":"many","items":[{"id":[],"volumeInfo":{"title":7,"pageCount":53},"saleInfo":[1e400]}]}`,
			want: Volume{PageCount: new(int64(53))},
		},
	} {
		got, err := decodeVolume([]byte(tc.body), "0486424618")
		require.NoError(t, err, name)
		assert.Equal(t, tc.want, *got, name)
	}
}

func TestDecodePicksTheEdition(t *testing.T) {
	t.Parallel()
	const editions = `{"items":[
		{"volumeInfo":{"pageCount":1,"industryIdentifiers":[
			{"type":"ISBN_13","identifier":"9781101477816"},{"type":"OTHER","identifier":"0486424618"}]}},
		{"volumeInfo":{"pageCount":2}},
		{"volumeInfo":{"pageCount":3,"industryIdentifiers":[{"type":"ISBN_13"},{"type":"ISBN_10","identifier":"0-486-42461-8"}]}}
	]}`
	for isbn, want := range map[ISBN]int64{
		"0486424618":    3,
		"9780486424613": 3,
		"9781101477816": 1,
		"9780141439518": 1, // none has it
	} {
		got, err := decodeVolume([]byte(editions), isbn)
		require.NoError(t, err)
		assert.Equal(t, want, *got.PageCount, isbn)
	}
}

// TestDecodeFindsNothing: only 0 hits mean that there is no such book.
func TestDecodeFindsNothing(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]error{ // nil: the decoder's own
		`{"totalItems":0}`:                ErrNotFound,
		`{"totalItems":0,"items":null}`:   ErrNotFound,
		`{"totalItems":0.0,"items":[]}`:   ErrNotFound,
		`{"totalItems":1}`:                errNoItems,
		`{"totalItems":300,"items":null}`: errNoItems,
		`{"totalItems":1,"items":[]}`:     errNoItems,
		`{"totalItems":1,"items":[null]}`: errNoItems,
		`{"items":[]}`:                    errNotVolumes,
		`{"totalItems":"0","items":[]}`:   errNotVolumes,
		`{"totalItems":1e400}`:            errNoItems,
		`{"totalItems":null}`:             errNotVolumes,
		`{}`:                              errNotVolumes,
		`null`:                            errNotVolumes,
		`{"items":{}}`:                    nil,
		volumeWith(`"authors":"A"`):       nil,
		volumeWith(`"pageCount":"53"`):    nil,
		comedy + "x":                      nil,
		`{"items":[{"volumeInfo":{}},{"volumeInfo":{"pageCount":80.0}}]}`: nil,
	} {
		_, err := decodeVolume([]byte(body), "0486424618")
		if want != nil {
			assert.ErrorIs(t, err, want, body)
			continue
		}
		require.Error(t, err, body)
		assert.NotErrorIs(t, err, ErrNotFound, body)
	}
}

func FuzzDecode(f *testing.F) {
	for _, body := range []string{comedy, `{"totalItems":0}`, "null", volumeWith(`"pageCount":1,"pageCount":null`)} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := decodeVolume(body, "0486424618")
		if err != nil {
			assert.Nil(t, v)
			return
		}
		assert.True(t, json.Valid(bytes.TrimPrefix(body, []byte("\ufeff"))), "encoding/json accepts it too")
	})
}
