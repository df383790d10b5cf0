package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"strings"
)

func decoded(text string) []byte {
	bytes, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return bytes
}

func use(...any) {}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), "\t")
		profile, body, secret := fields[0], decoded(fields[1]), string(decoded(fields[2]))
		headers := http.Header{}
		for _, pair := range fields[3:] {
			name, value := pair[:strings.Index(pair, ":")], pair[strings.Index(pair, ":")+1:]
			headers.Set(name, string(decoded(value)))
		}
		use(profile, body)
		fmt.Println(CALL)
	}
}
