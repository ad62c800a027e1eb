package googlebooks

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// decoder reads the body of volumes.list in one pass over its tokens and skips
// what is not needed, which may be any JSON. A struct with tags would say the
// same in half the lines, but takes nearly half as long again, and a tenth of
// the service's time is spent here. Methods return zero values once err is set.
type decoder struct {
	body bytes.Buffer
	json jsontext.Decoder
	err  error
}

// What is wrong with JSON that is no answer of volumes.list.
var (
	errNotVolumes = errors.New("neither totalItems nor items in it")
	errMore       = errors.New("more than one JSON value")
)

// volume picks from d.body the volume that has the ISBN; where none has, the
// first one, as details.rb does, because isbn: is a search that may leave an
// ISBN out of the right volume. Without volumes the error is ErrNotFound.
func (d *decoder) volume(isbn ISBN) (*Volume, error) {
	// The last of two equal keys wins, as it does in Ruby.
	d.json.Reset(&d.body, jsontext.AllowDuplicateNames(true))
	d.err = nil
	volumes, ok := d.answer()
	d.end()
	switch {
	case d.err != nil:
		return nil, d.err
	case !ok:
		return nil, errNotVolumes
	case len(volumes) == 0:
		return nil, ErrNotFound
	}
	for i := range volumes {
		for _, id := range volumes[i].IndustryIdentifiers {
			if (id.Type == "ISBN_10" || id.Type == "ISBN_13") && id.Identifier != nil && isbn.names(*id.Identifier) {
				return &volumes[i], nil
			}
		}
	}

	return &volumes[0], nil
}

// answer reads the whole body; ok reports whether it is one of volumes.list.
// Where there are no volumes, items is left out; totalItems never is.
func (d *decoder) answer() (volumes []Volume, ok bool) {
	for key := range d.object() {
		switch string(key) {
		case "items":
			ok, volumes = true, nil
			for range d.array() {
				volumes = append(volumes, d.item())
			}
		case "totalItems": // an estimate, and of no use
			ok = true
			d.skip()
		default:
			d.skip()
		}
	}

	return volumes, ok
}

func (d *decoder) item() (v Volume) {
	for key := range d.object() {
		if string(key) == "volumeInfo" {
			v = d.volumeInfo()
		} else {
			d.skip()
		}
	}

	return v
}

func (d *decoder) volumeInfo() (v Volume) {
	for key := range d.object() {
		switch string(key) {
		case "authors":
			v.Authors = nil
			for range d.array() {
				v.Authors = append(v.Authors, d.string())
			}
		case "publisher":
			v.Publisher = d.string()
		case "publishedDate":
			v.PublishedDate = d.string()
		case "industryIdentifiers":
			v.IndustryIdentifiers = nil
			for range d.array() {
				v.IndustryIdentifiers = append(v.IndustryIdentifiers, d.identifier())
			}
		case "pageCount":
			v.PageCount = d.integer()
		case "printType":
			v.PrintType = d.string()
		case "language":
			v.Language = d.string()
		default:
			d.skip()
		}
	}

	return v
}

func (d *decoder) identifier() (id Identifier) {
	for key := range d.object() {
		switch string(key) {
		case "type":
			id.Type = ""
			if s := d.string(); s != nil {
				id.Type = *s
			}
		case "identifier":
			id.Identifier = d.string()
		default:
			d.skip()
		}
	}

	return id
}

// object yields the keys of an object, each to be followed by the reading of
// its value; null has none.
func (d *decoder) object() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for range d.members('{', '}', "an object") {
			if key := text(d.read()); d.err != nil || !yield(key) {
				return
			}
		}
	}
}

// array yields once for each element of an array, to be followed by the
// reading of it; null has none.
func (d *decoder) array() iter.Seq[struct{}] { return d.members('[', ']', "an array") }

func (d *decoder) members(begin, end jsontext.Kind, what string) iter.Seq[struct{}] {
	return func(yield func(struct{}) bool) {
		switch d.token() {
		case begin:
		case 'n':
			return
		default:
			d.want(what)

			return
		}
		for d.err == nil && d.json.PeekKind() != end {
			if !yield(struct{}{}) {
				return
			}
		}
		d.token()
	}
}

// string reads a string; null is nil.
func (d *decoder) string() *string {
	value := d.read()
	switch value.Kind() {
	case '"':
		s := string(text(value))

		return &s
	case 'n':
	default:
		d.want("a string")
	}

	return nil
}

// integer reads an integer of 64 bits; null is nil.
func (d *decoder) integer() *int64 {
	value := d.read()
	if value.Kind() == 'n' {
		return nil
	}
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil {
		d.want("an integer")

		return nil
	}

	return &n
}

func (d *decoder) skip() { d.read() }

// read reads one value, whole; it is good until the next one is read.
func (d *decoder) read() (value jsontext.Value) {
	if d.err == nil {
		value, d.err = d.json.ReadValue()
	}

	return value
}

// token reads a delimiter or a null.
func (d *decoder) token() jsontext.Kind {
	var t jsontext.Token
	if d.err == nil {
		t, d.err = d.json.ReadToken()
	}

	return t.Kind()
}

// end reads the end of the body: nothing may stand behind the value.
func (d *decoder) end() {
	if d.err != nil {
		return
	}
	if _, err := d.json.ReadToken(); !errors.Is(err, io.EOF) {
		d.err = cmp.Or(err, errMore)
	}
}

// want tells what should have stood where something was read.
func (d *decoder) want(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("%s is not %s", d.json.StackPointer(), what)
	}
}

// text is what stands between the quotes of a valid JSON string.
func text(quoted jsontext.Value) []byte {
	if bytes.IndexByte(quoted, '\\') < 0 && len(quoted) >= 2 {
		return quoted[1 : len(quoted)-1]
	}
	unquoted, _ := jsontext.AppendUnquote(nil, quoted) // no error: it was read as a valid one

	return unquoted
}
