package googlebooks

import (
	"errors"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// answer is the part of a response of volumes.list that matters here. If there
// are no volumes, the API omits items, but never totalItems. Each item is
// decoded on its own, so that a malformed field of one volume does not affect
// another.
type answer struct {
	TotalItems jsontext.Value   `json:"totalItems"` // an estimate; only its presence matters
	Items      []jsontext.Value `json:"items"`
}

type item struct {
	VolumeInfo Volume `json:"volumeInfo"`
}

// numbers is an item of which only the identifiers are read.
type numbers struct {
	VolumeInfo struct {
		IndustryIdentifiers []Identifier `json:"industryIdentifiers"`
	} `json:"volumeInfo"`
}

var errNotVolumes = errors.New("it has neither totalItems nor items")

// decodeVolume returns the volume in body that has the ISBN. If none has it, it
// returns the first one: q=isbn: is a search, and Google may omit the ISBN from
// the right volume. If there are no volumes, it returns ErrNotFound.
func decodeVolume(body []byte, isbn ISBN) (*Volume, error) {
	var a answer
	if err := json.Unmarshal(body, &a, lastKeyWins()); err != nil {
		return nil, err
	}
	if len(a.Items) == 0 {
		if a.TotalItems == nil && a.Items == nil {
			return nil, errNotVolumes
		}
		return nil, ErrNotFound
	}
	var chosen *Volume
	var chosenErr error
	for i, raw := range a.Items {
		v, err := decodeItem(raw)
		found := v.has(isbn)
		if i == 0 || found {
			chosen, chosenErr = v, err
		}
		if found {
			break
		}
	}
	if chosenErr != nil {
		return nil, chosenErr
	}
	return chosen, nil
}

// decodeItem returns the volume of an item. If a field has the wrong type, it
// returns the error, and a volume with only the identifiers, if those can be
// read.
func decodeItem(raw jsontext.Value) (*Volume, error) {
	var i item
	err := json.Unmarshal(raw, &i, lastKeyWins())
	if err != nil {
		var n numbers
		_ = json.Unmarshal(raw, &n, lastKeyWins()) // err already says what is wrong
		return &Volume{IndustryIdentifiers: n.VolumeInfo.IndustryIdentifiers}, err
	}
	return &i.VolumeInfo, nil
}

// lastKeyWins accepts objects with duplicate keys, as most decoders do.
func lastKeyWins() json.Options { return jsontext.AllowDuplicateNames(true) }
