// A second judge of histories, on the checker of another project: histories as JSON on stdin, verdicts on stdout.
package main

import (
	"encoding/json"
	"math"
	"os"
	"reflect"

	"github.com/anishathalye/porcupine"
)

type call struct {
	Kind         string  `json:"kind"`
	Branch       string  `json:"branch"`
	Item         string  `json:"item"`
	ExpectedLast *string `json:"expected_last"`
	NewBranch    string  `json:"new_branch"`
}

type answer struct {
	Outcome string   `json:"outcome"`
	Items   []string `json:"items"`
	Number  int      `json:"number"`
}

type operation struct {
	Client int     `json:"client"`
	Call   call    `json:"call"`
	Began  int64   `json:"began"`
	Ended  *int64  `json:"ended"`
	Answer *answer `json:"answer"`
}

type session struct {
	Generation int
	Branches   map[string][]string
}

// changed is a session in which one branch holds other items.
func (s session) changed(branch string, items []string) session {
	branches := map[string][]string{}
	for name, held := range s.Branches {
		branches[name] = held
	}
	branches[branch] = append([]string{}, items...)
	return session{s.Generation, branches}
}

// apply carries out a call that nothing else disturbs.
func apply(s session, c call) (session, answer) {
	items, known := s.Branches[c.Branch]
	last := ""
	if len(items) > 0 {
		last = items[len(items)-1]
	}
	switch c.Kind {
	case "read":
		return s, answer{"done", items, 0}
	case "append":
		if !known {
			return s, answer{"not_found", nil, 0}
		}
		if c.ExpectedLast != nil && *c.ExpectedLast != last {
			return s, answer{"conflict", nil, 0}
		}
		longer := append(append([]string{}, items...), c.Item)
		return s.changed(c.Branch, longer), answer{"done", nil, len(longer)}
	case "pop":
		if len(items) == 0 {
			return s, answer{"done", nil, 0}
		}
		return s.changed(c.Branch, items[:len(items)-1]), answer{"done", []string{last}, 0}
	case "clear":
		branches := map[string][]string{}
		for name := range s.Branches {
			branches[name] = []string{}
		}
		return session{s.Generation + 1, branches}, answer{"done", nil, s.Generation + 1}
	case "fork":
		if !known {
			return s, answer{"not_found", nil, 0}
		}
		if _, used := s.Branches[c.NewBranch]; used {
			return s, answer{"used", nil, 0}
		}
		return s.changed(c.NewBranch, items), answer{"done", nil, len(items)}
	}
	panic("unknown kind " + c.Kind)
}

func same(one, other answer) bool {
	if one.Outcome != other.Outcome || one.Number != other.Number || len(one.Items) != len(other.Items) {
		return false
	}
	for position, item := range one.Items {
		if item != other.Items[position] {
			return false
		}
	}
	return true
}

var model = porcupine.Model{
	Init: func() interface{} {
		return session{0, map[string][]string{"main": {}}}
	},
	Step: func(state, input, output interface{}) (bool, interface{}) {
		after, expected := apply(state.(session), input.(call))
		told := output.(*answer)
		return told == nil || same(*told, expected), after
	},
	Equal: func(one, other interface{}) bool { return reflect.DeepEqual(one, other) },
}

func main() {
	var histories [][]operation
	if err := json.NewDecoder(os.Stdin).Decode(&histories); err != nil {
		panic(err)
	}
	verdicts := []bool{}
	for _, history := range histories {
		operations := []porcupine.Operation{}
		for client, done := range history {
			// A call without an answer may happen at any later time, and at the end it explains anything.
			ended := int64(math.MaxInt64)
			if done.Ended != nil {
				ended = *done.Ended
			}
			operations = append(operations, porcupine.Operation{
				ClientId: client, Input: done.Call, Call: done.Began, Output: done.Answer, Return: ended,
			})
		}
		verdicts = append(verdicts, porcupine.CheckOperations(model, operations))
	}
	if err := json.NewEncoder(os.Stdout).Encode(verdicts); err != nil {
		panic(err)
	}
}
