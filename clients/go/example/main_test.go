package main

import (
	"strings"
	"testing"

	"turntree/internal/testserver"
)

// The example shows what it says, and leaves nothing behind, so that it runs twice.
func TestExample(t *testing.T) {
	server := testserver.Start(t)
	for range 2 {
		var out strings.Builder
		if err := run(t.Context(), server.Address, &out); err != nil {
			t.Fatal(err)
		}
		expected := `watched DELTA_KIND_REPLACED 0 items
watched DELTA_KIND_APPENDED 2 items
watched DELTA_KIND_APPENDED 2 items
main      turn 1  Which city has the Golden Gate Bridge?  56 tokens
main      turn 2  Which state is it in?  81 tokens
shorter   turn 1  Which city has the Golden Gate Bridge?  0 tokens
shorter   turn 2  Say it in two letters.  70 tokens
all branches: 3 requests, 207 tokens
`
		if out.String() != expected {
			t.Fatalf("%s", out.String())
		}
	}
}
