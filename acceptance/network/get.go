// get BASE: fetch content, send it back, print its SHA-256.
package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
)

func read(response *http.Response, err error) []byte {
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != 200 {
		log.Fatal(response.Status, err, string(body))
	}
	return body
}

func main() {
	base := os.Args[1]
	got := read(http.Get(base + "/content"))
	hash := fmt.Sprintf("%x", sha256.Sum256(got))
	if told := read(http.Post(base+"/hash", "application/octet-stream", bytes.NewReader(got))); string(told) != hash {
		log.Fatal("sent ", hash, ", arrived ", string(told))
	}
	fmt.Println(hash)
}
