package googlebooks

import (
	"errors"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// answer is the part of a response of volumes.list that matters here. If there
// are no volumes, the API omits items, but never totalItems.
type answer struct {
	TotalItems jsontext.Value `json:"totalItems"` // an estimate; only its presence matters
	Items      []item         `json:"items"`
}

type item struct {
	VolumeInfo Volume `json:"volumeInfo"`

	err error // of decodeItems: VolumeInfo has only the identifiers
}

var errNotVolumes = errors.New("it has neither totalItems nor items")

// decodeVolume returns the volume in body that has the ISBN. If none has it, it
// returns the first one: q=isbn: is a search, and Google may omit the ISBN from
// the right volume. If there are no volumes, it returns ErrNotFound.
func decodeVolume(body []byte, isbn ISBN) (*Volume, error) {
	var a answer
	err := json.Unmarshal(body, &a, lastKeyWins())
	if _, ok := errors.AsType[*json.SemanticError](err); ok {
		a, err = decodeItems(body)
	}
	if err != nil {
		return nil, err
	}
	if len(a.Items) == 0 {
		if a.TotalItems == nil && a.Items == nil {
			return nil, errNotVolumes
		}
		return nil, ErrNotFound
	}
	chosen := &a.Items[0]
	for i := range a.Items {
		if a.Items[i].VolumeInfo.has(isbn) {
			chosen = &a.Items[i]
			break
		}
	}
	if chosen.err != nil {
		return nil, chosen.err
	}
	return &chosen.VolumeInfo, nil
}

// decodeItems decodes an answer in which a field has the wrong type, each item
// on its own: such a field of one volume does not affect another. It is not the
// only way because it takes 9 % more CPU time per request.
func decodeItems(body []byte) (answer, error) {
	var raw struct {
		TotalItems jsontext.Value   `json:"totalItems"`
		Items      []jsontext.Value `json:"items"`
	}
	if err := json.Unmarshal(body, &raw, lastKeyWins()); err != nil {
		return answer{}, err
	}
	a := answer{TotalItems: raw.TotalItems, Items: make([]item, len(raw.Items))}
	for i := range raw.Items {
		it := &a.Items[i]
		it.err = json.Unmarshal(raw.Items[i], it, lastKeyWins())
		if it.err != nil {
			var n struct {
				VolumeInfo struct {
					IndustryIdentifiers []Identifier `json:"industryIdentifiers"`
				} `json:"volumeInfo"`
			}
			_ = json.Unmarshal(raw.Items[i], &n, lastKeyWins()) // it.err says what is wrong
			it.VolumeInfo = Volume{IndustryIdentifiers: n.VolumeInfo.IndustryIdentifiers}
		}
	}
	return a, nil
}

// lastKeyWins accepts objects with duplicate keys, as most decoders do.
func lastKeyWins() json.Options { return jsontext.AllowDuplicateNames(true) }
