package googlebooks

import (
	"errors"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Volume is what Google Books knows of one edition of a book: the part of
// volumeInfo that callers need. A nil pointer is a field that Google left out
// or gave as null: a book of no stated length is not a book of no pages.
type Volume struct {
	Authors             []*string    `json:"authors"`
	Publisher           *string      `json:"publisher"`
	PublishedDate       *string      `json:"publishedDate"` // 2002-09-19, 1996-06, 2013, 19??, …
	IndustryIdentifiers []Identifier `json:"industryIdentifiers"`
	PageCount           *int64       `json:"pageCount"`
	PrintType           *string      `json:"printType"` // BOOK or MAGAZINE
	Language            *string      `json:"language"`  // BCP 47: en, pt-BR, …
}

// Identifier is one of a volume's numbers. Their order means nothing.
type Identifier struct {
	Type       string  `json:"type"` // ISBN_10, ISBN_13, ISSN or OTHER
	Identifier *string `json:"identifier"`
}

// answer is the body of volumes.list. totalItems is an estimate, of use only
// as a mark of Google's: where no volume is found, items is not there.
type answer struct {
	TotalItems jsontext.Value `json:"totalItems"`
	Items      []struct {
		VolumeInfo volumeInfo `json:"volumeInfo"`
	} `json:"items"`
}

// volumeInfo decodes a Volume of which nothing stays where the key stands
// twice in an item: the last one wins, whole.
type volumeInfo Volume

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (v *volumeInfo) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	type plain volumeInfo
	*v = volumeInfo{}

	return json.UnmarshalDecode(dec, (*plain)(v))
}

var errNotVolumes = errors.New("neither totalItems nor items in it")

// decode reads the body of volumes.list and picks the volume that has the
// ISBN; where none has, the first one, as details.rb does, because isbn: is a
// search that may leave an ISBN out of the right volume. Without volumes the
// error is ErrNotFound. Keys that are not needed may hold any JSON.
func decode(body []byte, isbn ISBN) (*Volume, error) {
	var a answer
	if err := json.Unmarshal(body, &a, jsontext.AllowDuplicateNames(true)); err != nil {
		return nil, err
	}
	if a.TotalItems == nil && a.Items == nil {
		return nil, errNotVolumes
	}
	if len(a.Items) == 0 {
		return nil, ErrNotFound
	}
	for i := range a.Items {
		v := &a.Items[i].VolumeInfo
		for _, id := range v.IndustryIdentifiers {
			if (id.Type == "ISBN_10" || id.Type == "ISBN_13") && id.Identifier != nil && isbn.names(*id.Identifier) {
				return (*Volume)(v), nil
			}
		}
	}

	return (*Volume)(&a.Items[0].VolumeInfo), nil
}
