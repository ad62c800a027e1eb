package googlebookstest

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// samples are the answers to q=isbn:…, one file per ISBN. They were written for
// this project in Google's shape.
//
//go:embed volumes/*.json
var samples embed.FS

// errorsJSON are Google's errors. Like Google's, they have no Retry-After. Those
// that begin with "errors" have the format from before 2020, which still occurs.
//
//go:embed errors.json
var errorsJSON []byte

// answer is a response without any fault.
type answer struct {
	status      int
	contentType string
	body        []byte
}

// Sample returns the answer to q=isbn:… for one of the files in the folder
// volumes, byte for byte. It panics if there is none.
func Sample(isbn string) []byte {
	body, err := samples.ReadFile("volumes/" + isbn + ".json")
	if err != nil {
		panic(fmt.Sprintf("googlebookstest: %v", err))
	}
	return body
}

// Samples returns the ISBNs for which there is a Sample.
func Samples() []string {
	files, err := samples.ReadDir("volumes")
	if err != nil {
		panic(err) // embedded: cannot fail
	}
	isbns := make([]string, len(files))
	for i, file := range files {
		isbns[i] = strings.TrimSuffix(file.Name(), ".json")
	}
	return isbns
}

// search returns Google's answer to q. For isbn:…, that is the Sample with this
// ISBN-10 or ISBN-13. Google accepts the word isbn in any case, and hyphens.
func search(q string) []byte {
	field, isbn, _ := strings.Cut(q, ":")
	isbn = strings.NewReplacer("-", "", " ", "").Replace(isbn)
	for _, name := range Samples() {
		body := Sample(name)
		if strings.EqualFold(field, "isbn") && bytes.Contains(body, []byte(`"identifier": "`+isbn+`"`)) {
			return body
		}
	}
	return []byte("{\n  \"kind\": \"books#volumes\",\n  \"totalItems\": 0\n}\n")
}

func jsonAnswer(status int, body []byte) answer {
	return answer{status: status, contentType: "application/json; charset=UTF-8", body: body}
}

// htmlError returns the HTML page of Google's front end for a request that does
// not reach the API.
func htmlError(status int) answer {
	text, sorry := http.StatusText(status), "The requested URL was not found on this server."
	switch {
	case status == http.StatusTooManyRequests:
		sorry = "We're sorry... but your network may be sending automated queries."
	case status >= http.StatusInternalServerError:
		text, sorry = "Server Error", "The server encountered a temporary error and could not complete your request."
	}
	body := fmt.Appendf(nil, `<!DOCTYPE html>
<html lang=en>
  <meta charset=utf-8>
  <title>Error %d (%s)!!1</title>
  <p><b>%d.</b> <ins>That's an error.</ins>
  <p>%s  <ins>That's all we know.</ins>
`, status, text, status, sorry)
	return answer{status: status, contentType: "text/html; charset=UTF-8", body: body}
}

func unmarshal(embedded []byte, v any) {
	if err := json.Unmarshal(embedded, v); err != nil {
		panic(fmt.Sprintf("googlebookstest: %v", err))
	}
}
