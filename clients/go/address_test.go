package turntree

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
)

// An address is host:port, with or without a scheme; with TLS it names its files as options, percent-encoded.
func TestAddresses(t *testing.T) {
	for text, expected := range map[string]address{
		"localhost:50051":                        {target: "localhost:50051"},
		"turntree://127.0.0.1:1":                 {target: "127.0.0.1:1"},
		"turntree://memory.example:65535":        {target: "memory.example:65535"},
		"[::1]:50051":                            {target: "[::1]:50051"},
		"turntrees://h:1":                        {"h:1", &tlsFiles{}},
		"turntrees://h:1?ca_file=a%20b%2Fc":      {"h:1", &tlsFiles{ca: "a b/c"}},
		"turntrees://h:1?cert_file=d&key_file=e": {"h:1", &tlsFiles{cert: "d", key: "e"}},
	} {
		actual, err := parseAddress(text)
		if err != nil || !reflect.DeepEqual(actual, expected) {
			t.Errorf("%s: %v, %v", text, actual, err)
		}
	}
}

// What is no address is refused with the field, the value and the limit.
func TestBadAddresses(t *testing.T) {
	for _, text := range []string{
		"", "localhost", ":50051", "localhost:", "localhost:0", "localhost:65536", "localhost:+1", "::1:50051", "[h]:1",
		"http://localhost:50051", "turntree://user@localhost:50051", "turntree://localhost:50051/path",
		"turntree://localhost:50051?ca_file=a", "turntrees://localhost:50051?cafile=a",
		"turntrees://localhost:50051?cert_file=a", "turntrees://localhost:50051?key_file=a",
	} {
		_, err := New(text)
		var failure *Error
		if !errors.As(err, &failure) || failure.Reason != ReasonFieldInvalid {
			t.Fatalf("%s: %v", text, err)
		}
		if failure.Facts["field"] != "url" || failure.Facts["value"] != text || failure.Facts["limit"] == "" {
			t.Errorf("%s: %v", text, failure.Facts)
		}
	}
}

// A file that cannot be read, or holds no certificate, is named by its option and path.
func TestBadFiles(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for option, urls := range map[string][]string{
		"ca_file":   {"ca_file=" + empty, "ca_file=" + empty + ".missing"},
		"cert_file": {"cert_file=" + empty + "&key_file=" + empty, "cert_file=missing&key_file=" + empty},
		"key_file":  {"cert_file=" + empty + "&key_file=missing"},
	} {
		for _, query := range urls {
			_, err := New("turntrees://localhost:1?" + query)
			var failure *Error
			if !errors.As(err, &failure) || failure.Facts["field"] != option {
				t.Errorf("%s: %v", query, err)
			}
		}
	}
}

// A token is sent over TLS, and without it to this machine only.
func TestNeverOverPlaintext(t *testing.T) {
	for text, isSent := range map[string]bool{
		"turntrees://memory.example:1": true, "127.8.9.1:1": true, "LOCALHOST:1": true, "[::1]:1": true,
		"memory.example:1": false, "turntree://10.0.0.1:1": false, "0.0.0.0:1": false, "[2001:db8::1]:1": false,
		"localhost.example:1": false, "127.0.0.1.example:1": false,
	} {
		client, err := New(text, WithToken("t"))
		if (err == nil) != isSent {
			t.Errorf("%s: %v", text, err)
		}
		if err == nil {
			_ = client.Close()
		}
	}
}

// A token is sent as a bearer's; a source that fails, and a token that is no header, fail the call without showing it.
func TestTokens(t *testing.T) {
	give := func(token string, err error) TokenSource {
		return func(context.Context) (string, error) { return token, err }
	}
	ctx, err := authorized(t.Context(), give("t1", nil))
	if err != nil {
		t.Fatal(err)
	}
	sent, _ := metadata.FromOutgoingContext(ctx)
	if !reflect.DeepEqual(sent.Get("authorization"), []string{"Bearer t1"}) {
		t.Errorf("%v", sent)
	}
	sealed := errors.New("the vault is sealed")
	_, err = authorized(t.Context(), give("", sealed))
	var failure *Error
	if !errors.As(err, &failure) || failure.Code != codes.Unauthenticated || !errors.Is(err, sealed) {
		t.Errorf("%v", err)
	}
	_, err = authorized(t.Context(), give("line\nbreak", nil))
	if !errors.Is(err, ReasonFieldInvalid) || strings.Contains(err.Error(), "break") {
		t.Errorf("%v", err)
	}
}
