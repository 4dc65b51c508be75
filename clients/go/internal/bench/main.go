// Bench measures turns through the client and the same bytes through a bare echo, by grpc-go as well.
//
//	bench TURNTREE_URL ECHO_URL
//
// What it reads and prints is told in benchmarks/rows/languages.py.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"turntree"
	"turntree/turntreepb"
)

const (
	sessionCount = 64
	historyTurns = 25
)

func main() {
	if len(os.Args) != 3 {
		fail("usage: bench TURNTREE_URL ECHO_URL")
	}
	client, err := turntree.New(os.Args[1])
	check(err)
	echo, err := grpc.NewClient(os.Args[2], grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(err)

	input := bufio.NewReader(os.Stdin)
	turns := readTurns(readLine(input))
	if len(turns) <= historyTurns {
		fail(fmt.Sprintf("%d turns are given, and a history has %d", len(turns), historyTurns))
	}
	name := uuid.NewString()
	var sessions []*session
	for number := range sessionCount {
		sessions = append(sessions, newSession(client, echo, fmt.Sprintf("bench-%s-%d", name, number), turns))
	}
	sides := map[string]func(*session){"turns": (*session).turn, "echo": (*session).echoTurn}
	for line := readLine(input); line != nil; line = readLine(input) {
		var side string
		var callers int
		var seconds float64
		_, err := fmt.Sscan(string(line), &side, &callers, &seconds)
		check(err)
		check(json.NewEncoder(os.Stdout).Encode(measure(sides[side], sessions[:callers], seconds)))
	}
}

type measured struct {
	ElapsedS    float64   `json:"elapsed_s"`
	LatenciesMs []float64 `json:"latencies_ms"`
}

// measure lets sessions make turns for a while, each one after another.
func measure(turn func(*session), sessions []*session, seconds float64) measured {
	latencies := make([][]float64, len(sessions))
	var workers sync.WaitGroup
	start := time.Now()
	for number, session := range sessions {
		workers.Go(func() {
			for time.Since(start).Seconds() < seconds {
				begin := time.Now()
				turn(session)
				latencies[number] = append(latencies[number], 1000*time.Since(begin).Seconds())
			}
		})
	}
	workers.Wait()
	return measured{time.Since(start).Seconds(), slices.Concat(latencies...)}
}

// session is a conversation with a history, and what is to be said in it.
type session struct {
	client *turntree.Client
	echo   *grpc.ClientConn
	id     string
	branch *turntreepb.BranchPointer
	cursor []byte
	turns  [][][]byte
	echoes [][2][]byte // the two requests of each turn, for the echo
	next   int
}

func newSession(client *turntree.Client, echo *grpc.ClientConn, id string, turns [][][]byte) *session {
	history := slices.Concat(turns[:historyTurns]...)
	_, err := client.AddItems(context.Background(), &turntreepb.AddItemsRequest{SessionId: id, Items: history})
	check(err)
	s := &session{client: client, echo: echo, id: id, turns: turns[historyTurns:]}
	if read := s.read(); len(read.GetItems()) != len(history) {
		fail("the history was not read")
	}
	for _, items := range s.turns {
		add := s.adding(items)
		add.RequestId = uuid.Must(uuid.NewV7()).String() // as the client gives one
		s.echoes = append(s.echoes, [2][]byte{marshalled(s.reading()), marshalled(add)})
	}
	return s
}

func (s *session) turn() {
	if read := s.read(); read.GetKind() == turntreepb.DeltaKind_DELTA_KIND_REPLACED {
		fail("more was read than is new")
	}
	response, err := s.client.AddItems(context.Background(), s.adding(s.turns[s.next%len(s.turns)]))
	check(err)
	s.branch = response.GetBranch()
	s.next++
}

func (s *session) read() *turntreepb.ItemsDelta {
	response, err := s.client.GetItems(context.Background(), s.reading())
	check(err)
	s.branch, s.cursor = response.GetDelta().GetBranch(), response.GetDelta().GetCursor()
	return response.GetDelta()
}

func (s *session) echoTurn() {
	for _, request := range s.echoes[s.next%len(s.echoes)] {
		var reply []byte
		check(s.echo.Invoke(context.Background(), "/benchmarks.Echo/Back", request, &reply, grpc.ForceCodec(raw{})))
		if len(reply) != len(request) {
			fail("the echo says something else")
		}
	}
	s.next++
}

func (s *session) reading() *turntreepb.GetItemsRequest {
	return &turntreepb.GetItemsRequest{SessionId: s.id, Branch: s.branch, Cursor: s.cursor}
}

func (s *session) adding(items [][]byte) *turntreepb.AddItemsRequest {
	return &turntreepb.AddItemsRequest{SessionId: s.id, Branch: s.branch, Items: items}
}

func marshalled(message proto.Message) []byte {
	body, err := proto.Marshal(message)
	check(err)
	return body
}

// raw sends and receives bytes as they are.
type raw struct{}

func (raw) Marshal(value any) ([]byte, error) { return value.([]byte), nil }

func (raw) Unmarshal(data []byte, value any) error {
	*value.(*[]byte) = data
	return nil
}

func (raw) Name() string { return "raw" }

// readLine gives a line, or nil at the end.
func readLine(input *bufio.Reader) []byte {
	line, err := input.ReadBytes('\n')
	if err == io.EOF {
		return nil
	}
	check(err)
	return line
}

// readTurns gives the turns of a JSON array, each an array of items.
func readTurns(line []byte) [][][]byte {
	var read [][]json.RawMessage
	check(json.Unmarshal(line, &read))
	var turns [][][]byte
	for _, items := range read {
		var turn [][]byte
		for _, item := range items {
			turn = append(turn, item)
		}
		turns = append(turns, turn)
	}
	return turns
}

func check(err error) {
	if err != nil {
		fail(err)
	}
}

func fail(why any) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(1)
}
