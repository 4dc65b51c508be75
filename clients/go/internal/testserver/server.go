// Package testserver is a real turntree server in a process of its own, for tests, and connections to it that break.
package testserver

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const startedWithin = time.Minute

// Server is a running `turntree serve` on a database in a temporary folder. It is killed at the end of its test.
type Server struct {
	Address string // host:port
	Folder  string // with the database and the log

	t       *testing.T
	options []string
	process *exec.Cmd
}

// Start starts a server on a new database, with more options.
func Start(t *testing.T, options ...string) *Server {
	t.Helper()
	server := &Server{t: t, Folder: t.TempDir(), Address: "127.0.0.1:0", options: options}
	server.StartAgain()
	t.Cleanup(server.Kill)
	return server
}

// StartAgain starts, after Kill, another server on the same database and address.
func (s *Server) StartAgain() {
	s.t.Helper()
	path := filepath.Join(s.Folder, "server.log")
	log, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	arguments := []string{"serve", "--db", filepath.Join(s.Folder, "conversations.db"), "--listen", s.Address}
	s.process = exec.Command(Turntree(s.t), append(arguments, s.options...)...)
	s.process.Stderr = log
	output, err := s.process.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	announced := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(output).ReadString('\n')
		announced <- line
	}()
	var line string
	select {
	case line = <-announced:
	case <-time.After(startedWithin):
	}
	words := strings.Fields(line)
	if len(words) < 5 || words[0] != "turntree" || words[2] != "listening" {
		s.Kill()
		logged, _ := os.ReadFile(path)
		s.t.Fatalf("the server announced %q, and logged: %s", line, logged)
	}
	s.Address = words[4]
}

// Kill ends the server as a crash would.
func (s *Server) Kill() {
	_ = s.process.Process.Kill()
	_ = s.process.Wait()
}

// Turntree is the command that runs turntree: the environment's TURNTREE.
func Turntree(t *testing.T) string {
	t.Helper()
	command := os.Getenv("TURNTREE")
	if command == "" {
		t.Fatal("TURNTREE names the turntree command")
	}
	return command
}
