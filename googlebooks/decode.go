package googlebooks

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// answer is the part of a response of volumes.list that matters here. If there
// are no volumes, the API omits items, but never totalItems.
type answer struct {
	TotalItems jsontext.Value `json:"totalItems"` // an estimate: only whether it is 0 matters
	Items      []*item        `json:"items"`
}

type item struct {
	VolumeInfo Volume `json:"volumeInfo"`
}

var (
	errNotVolumes = errors.New("it has neither volumes nor a number of hits")
	errNoItems    = errors.New("it has hits, but no volume")
)

// decodeVolume returns the volume in body that has the ISBN. If none has it, it
// returns the first one: q=isbn: is a search, and Google may omit the ISBN from
// the right volume. If there are no hits, it returns ErrNotFound.
func decodeVolume(body []byte, isbn ISBN) (*Volume, error) {
	var a answer
	if err := unmarshal(body, &a); err != nil {
		return nil, err
	}
	var first *Volume
	for _, item := range a.Items {
		switch {
		case item == nil: // null
		case item.VolumeInfo.has(isbn):
			return &item.VolumeInfo, nil
		case first == nil:
			first = &item.VolumeInfo
		}
	}
	if first != nil {
		return first, nil
	}
	hits, err := strconv.ParseFloat(string(a.TotalItems), 64)
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange): // it is huge
		return nil, errNotVolumes
	case hits == 0:
		return nil, fmt.Errorf("%w: %s", ErrNotFound, isbn)
	}
	return nil, errNoItems
}

// unmarshal decodes JSON from the network, as most decoders do: the last of
// duplicate keys wins, and a lone surrogate or a byte that is not UTF-8 becomes
// U+FFFD, because text may be cut in the middle of a character. It ignores a
// byte order mark, as RFC 8259 section 8.1 allows.
func unmarshal(body []byte, v any) error {
	body = bytes.TrimPrefix(body, []byte("\ufeff"))
	return json.Unmarshal(body, v, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}
