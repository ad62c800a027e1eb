// Package volumes holds sample answers of the Google Books volumes API, written for this project in Google's shape.
//
// Each file is named after the ISBN that is asked for and holds the whole answer to GET /books/v1/volumes?q=isbn:….
package volumes

import "embed"

// FS holds the sample answers: one <ISBN>.json an ISBN, in UTF-8, indented by two spaces as Google does it.
//
//go:embed *.json
var FS embed.FS
