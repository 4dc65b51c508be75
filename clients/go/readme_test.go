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
// section on TLS, which need another server, in a second one.
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
		`"a secret"`: fmt.Sprintf("%q", writer),
	} {
		equal(t, strings.Contains(source, written), true)
		source = strings.ReplaceAll(source, written, real)
	}
	path := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(path, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	run := exec.Command("go", "run", path)
	run.Dir = "openaiagents" // the module that sees all of them
	if output, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
}
