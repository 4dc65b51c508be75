// Conformance reads a step a line, makes the call by the public client, and writes a line with the answer.
//
//	conformance URL
//
// The steps are those of tests/conformance/README.md.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		fail("usage: conformance URL")
	}
	player, err := newPlayer(os.Args[1])
	if err != nil {
		fail(err)
	}
	defer player.close()
	steps := bufio.NewReader(os.Stdin)
	for {
		line, err := steps.ReadBytes('\n')
		if err == io.EOF {
			return
		}
		if err != nil {
			fail(err)
		}
		var step step
		if err := json.Unmarshal(line, &step); err != nil {
			fail(err)
		}
		answer, err := player.play(step)
		if err != nil {
			answer = map[string]any{"unsupported": err.Error()}
		}
		text, err := json.Marshal(answer)
		if err != nil {
			fail(err)
		}
		fmt.Printf("%s\n", text)
	}
}

func fail(why any) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(1)
}
