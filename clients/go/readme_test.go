package turntree_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"turntree/internal/testserver"
)

const program = `package main

%s
import (
	"os"
	"strings"
)

func main() {
	for _, tell := range []func(context.Context) error{plain, secure} {
		if err := tell(context.Background()); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
}

// check ends the program when something prints another text than the README says.
func check(expected string, printed ...any) {
	if actual := strings.TrimSuffix(fmt.Sprintln(printed...), "\n"); actual != expected {
		fmt.Printf("prints %%q, and the README says %%q\n", actual, expected)
		os.Exit(1)
	}
}

func plain(ctx context.Context) error {
%s
	return nil
}

func secure(ctx context.Context) error {
%s
	return nil
}
`

// The examples of the README compile, run, and print what it says. They follow each other in one function; those of the
// section on TLS, which need another server, in a second one. Their module is made as the section on Install says.
func TestReadme(t *testing.T) {
	readme := string(must(os.ReadFile("README.md"))(t))
	var imports, plain, secure strings.Builder
	blocks := regexp.MustCompile("(?ms)^## (TLS)?|^```go\n(.*?)^```")
	isSecure := false
	for _, block := range blocks.FindAllStringSubmatch(readme, -1) {
		switch code := block[2]; {
		case code == "":
			isSecure = block[1] != ""
		case strings.HasPrefix(code, "import"):
			imports.WriteString(code)
		case isSecure:
			secure.WriteString(code)
		default:
			plain.WriteString(code)
		}
	}
	printed := regexp.MustCompile(`fmt\.Println\((.*)\) *// (.*)`)
	checked := func(code string) string {
		return printed.ReplaceAllStringFunc(code, func(line string) string {
			parts := printed.FindStringSubmatch(line)
			return fmt.Sprintf("check(%q, %s)", parts[2], parts[1])
		})
	}
	url, _, writer := guarded(t)
	source := fmt.Sprintf(program, imports.String(), checked(plain.String()), checked(secure.String()))
	for written, real := range map[string]string{
		`"localhost:50051"`: fmt.Sprintf("%q", testserver.Start(t).Address),
		`"turntrees://memory.example:443?ca_file=ca.pem"`: fmt.Sprintf("%q", url),
		`"tt_secret"`: fmt.Sprintf("%q", writer),
	} {
		equal(t, strings.Contains(source, written), true)
		source = strings.ReplaceAll(source, written, real)
	}
	asInstalled(t, source, install(readme), "run", ".")
}

// Who needs the client alone installs it without the line of the adapter.
func TestInstallOfTheClient(t *testing.T) {
	var lines []string
	for _, line := range install(string(must(os.ReadFile("README.md"))(t))) {
		if !strings.Contains(line, "openaiagents") {
			lines = append(lines, line)
		}
	}
	equal(t, len(lines), 2)
	source := "package main\n\nimport _ \"turntree\"\n\nfunc main() {}\n"
	asInstalled(t, source, lines, "build", "./...")
}

// install is what the README's section on it says to do.
func install(readme string) []string {
	block := regexp.MustCompile("(?ms)^## Install$.*?^```sh\n(.*?)\n```").FindStringSubmatch(readme)
	return strings.Split(block[1], "\n")
}

// asInstalled makes a module of a program, elsewhere, installs there what it needs, and has Go do something with it.
func asInstalled(t *testing.T, source string, lines []string, command ...string) {
	t.Helper()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "main.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	here := must(os.Getwd())(t)
	steps := [][]string{{"go", "mod", "init", "example"}}
	for _, line := range lines {
		steps = append(steps, strings.Fields(strings.ReplaceAll(line, "path/to/clients/go", here)))
	}
	for _, step := range append(steps, append([]string{"go"}, command...)) {
		run := exec.Command(step[0], step[1:]...)
		run.Dir = folder
		run.Env = append(os.Environ(), "GOPROXY=off", "GOSUMDB=off") // all that it needs, the client needs too
		if output, err := run.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", step, err, output)
		}
	}
}
