package googlebooks

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Sizes of a response's body, in bytes. Recorded ones have up to 8 KB.
const (
	usualBody = 4 << 10 // first allocation; io.ReadAll would grow in steps and allocate three times as much
	maxBody   = 1 << 20 // limit of the body as sent, and of the decoded body
)

// bodyError says what is wrong with a body that arrived.
type bodyError struct{ what string }

func (e *bodyError) Error() string { return e.what }

// readBody returns the body of a response, decoded: the client asks for no
// content coding, but a server may use one (RFC 9110 section 12.5.3). If it
// returns an error other than a bodyError, the body is what arrived before it.
func readBody(res *http.Response) ([]byte, error) {
	sent := &io.LimitedReader{R: res.Body, N: maxBody + 1}
	var plain io.Reader = sent
	inGzip := false
	switch coding := contentCoding(res.Header); strings.ToLower(coding) {
	case "":
	case "gzip", "x-gzip":
		zipped, err := gzip.NewReader(sent)
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return nil, unzipError(err, sent)
		}
		plain, inGzip = zipped, true
	default:
		return nil, &bodyError{fmt.Sprintf("the content coding %q, which was not requested", coding)}
	}

	var b bytes.Buffer
	b.Grow(usualBody)
	_, err := b.ReadFrom(io.LimitReader(plain, maxBody+1))
	if b.Len() > maxBody || sent.N == 0 {
		return nil, &bodyError{"more than 1 MiB"}
	}
	if inGzip {
		err = unzipError(err, sent)
	}
	return b.Bytes(), err
}

// contentCoding returns the content codings of a response as they were sent, ""
// for none.
func contentCoding(h http.Header) string {
	var codings []string
	for coding := range strings.SplitSeq(strings.Join(h.Values("Content-Encoding"), ","), ",") {
		if coding = strings.TrimSpace(coding); coding != "" && !strings.EqualFold(coding, "identity") {
			codings = append(codings, coding)
		}
	}
	return strings.Join(codings, ", ")
}

// unzipError returns err, as a bodyError if the gzip data is invalid. Data that
// ends early is invalid, too, unless the connection was cut off.
func unzipError(err error, sent io.Reader) error {
	_, invalid := errors.AsType[flate.CorruptInputError](err)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		_, end := sent.Read(make([]byte, 1))
		invalid = end == io.EOF
	}
	if invalid || errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) {
		return &bodyError{"a body that is not valid gzip"}
	}
	return err
}
