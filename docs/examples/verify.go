package webhooks

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// header: request.Header. body: what io.ReadAll(request.Body) returns. secret: as it was shown, with its prefix.
func verify(header http.Header, body []byte, secret string) bool {
	sent := header.Get("webhook-timestamp")
	key := []byte(secret)
	if strings.HasPrefix(secret, "whsec_") {
		decoded, err := base64.StdEncoding.DecodeString(secret[len("whsec_"):])
		if err != nil {
			return false
		}
		key = decoded
	}
	signed := header.Get("webhook-id") + "." + sent + "." + string(body)
	expected := "v1," + base64.StdEncoding.EncodeToString(mac(key, signed))
	for _, given := range strings.Split(header.Get("webhook-signature"), " ") {
		if hmac.Equal([]byte(given), []byte(expected)) {
			return isRecent(sent)
		}
	}
	return false
}

// verifyProduct checks a product's own header. profile: one of the table.
func verifyProduct(profile string, header http.Header, body []byte, secret string) bool {
	same := func(name, expected string) bool {
		return hmac.Equal([]byte(header.Get(name)), []byte(expected))
	}
	switch profile {
	case "migma":
		return same("X-Migma-Signature", hex.EncodeToString(mac([]byte(secret), string(body))))
	case "migomail", "magnetite":
		return same("X-"+profile+"-Signature", "sha256="+hex.EncodeToString(mac([]byte(secret), string(body))))
	case "mumara":
		return same("X-Mumara-Token", secret)
	case "metigan":
		parts := strings.Split(header.Get("X-Webhook-Signature"), ",")
		sent := strings.TrimPrefix(parts[0], "t=")
		expected := hex.EncodeToString(mac([]byte(secret), sent+"."+string(body)))
		return same("X-Webhook-Signature", "t="+sent+",v1="+expected) && isRecent(sent)
	}
	return false
}

func mac(key []byte, message string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(message))
	return mac.Sum(nil)
}

// isRecent tells whether a time in Unix seconds is within five minutes of this clock.
func isRecent(sent string) bool {
	seconds, err := strconv.ParseInt(sent, 10, 64)
	age := time.Now().Unix() - seconds
	return err == nil && age >= -300 && age <= 300
}
