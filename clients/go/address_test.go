package turntree

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
)

// What is an address, and what is not, is the same in every client: with TLS it names its files as options,
// percent-encoded; what is none is refused with the field, the value and the limit, and a password is not shown.
func TestAddresses(t *testing.T) {
	text, err := os.ReadFile("../addresses.json")
	if err != nil {
		t.Fatal(err)
	}
	var addresses struct {
		Accepted []struct {
			URL    string            `json:"url"`
			Target string            `json:"target"`
			TLS    map[string]string `json:"tls"`
		} `json:"accepted"`
		Refused []struct {
			URL   string `json:"url"`
			Shown string `json:"shown"`
		} `json:"refused"`
	}
	if err := json.Unmarshal(text, &addresses); err != nil || len(addresses.Accepted) == 0 || len(addresses.Refused) == 0 {
		t.Fatalf("%v: %v", err, addresses)
	}
	for _, accepted := range addresses.Accepted {
		expected := address{target: accepted.Target}
		if files := accepted.TLS; files != nil {
			expected.tls = &tlsFiles{files["ca_file"], files["cert_file"], files["key_file"]}
		}
		actual, err := parseAddress(accepted.URL)
		if err != nil || !reflect.DeepEqual(actual, expected) {
			t.Errorf("%s: %v, %v", accepted.URL, actual, err)
		}
	}
	for _, refused := range addresses.Refused {
		_, err := New(refused.URL)
		var failure *Error
		if !errors.As(err, &failure) || failure.Reason != ReasonFieldInvalid {
			t.Fatalf("%s: %v", refused.URL, err)
		}
		facts := failure.Facts
		if facts["field"] != "url" || facts["value"] != refused.Shown || facts["limit"] == "" {
			t.Errorf("%s: %v", refused.URL, facts)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v", err)
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

// The token of the environment is looked at only by a client that is given none.
func TestTokenOfTheEnvironment(t *testing.T) {
	t.Setenv(tokenVariable, "two words")
	if _, err := New("127.0.0.1:1"); !errors.Is(err, ReasonFieldInvalid) {
		t.Errorf("%v", err)
	}
	client, err := New("127.0.0.1:1", WithToken("t"))
	if err != nil {
		t.Fatal(err)
	}
	_ = client.Close()
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
