package install

import (
	"bytes"
	"cmp"
	"context"
	"debug/buildinfo"
	"debug/elf"
	"io/fs"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/semver"
)

// ownProgram is Weft's plugin, of which the host's is replaced also where versions cannot be compared, as those of
// builds by hand, and by another build of the same version.
const ownProgram = "github.com/weft-network/weft/cmd/weft"

// verdict says whether a plugin is to be installed, and why.
type verdict struct {
	install bool
	absent  bool   // there is none on the host
	reason  string // of the one on the host: "is of version v1.0.0, ours v1.1.0"; "" where it is the same
}

func replace(reason string) verdict { return verdict{install: true, reason: reason} }
func leave(reason string) verdict   { return verdict{reason: reason} }

// judge compares the plugin at target, which is there, with the one at source. What is no program at all is replaced;
// another's program is left alone; of two versions of the same program the newer one wins. Where that cannot be found
// out, the host's stays.
func judge(ctx context.Context, source, target string, there fs.FileInfo) (verdict, error) {
	switch mode := there.Mode(); {
	case mode&fs.ModeSymlink != 0:
		return leave("is a symbolic link of the host's"), nil
	case mode.IsDir():
		return leave("is a folder"), nil
	case !mode.IsRegular():
		return leave("is no regular file"), nil
	}
	same, err := sameContent(source, target)
	if err != nil {
		return verdict{}, err
	}
	switch {
	case same && there.Mode()&0o111 == 0o111:
		return verdict{}, nil
	case same:
		return replace("may not be run by everybody"), nil
	case damaged(target):
		return replace("is damaged"), nil
	}
	ours, theirs := identify(ctx, source), identify(ctx, target)
	return compare(ours, theirs), nil
}

// compare decides between two programs that differ.
func compare(ours, theirs program) verdict {
	if theirs.path == "" || theirs.path != ours.path {
		return leave("is another program than Weft's")
	}
	versions := "is of version " + theirs.named() + ", Weft's is of " + ours.named()
	have, ok := release(theirs.version)
	want, ok2 := release(ours.version)
	own := ours.path == ownProgram
	switch order := have.compare(want); {
	case !ok || !ok2:
		return verdict{install: own, reason: versions}
	case order < 0:
		return replace(versions)
	case order == 0 && own:
		return replace("is another build of the same version")
	default:
		return leave(versions)
	}
}

// released is a version that can be compared: of a release, or of so many commits after one.
type released struct {
	tag     string
	commits int
}

// described is what git describe adds to the tag before a commit.
var described = regexp.MustCompile(`^(.+?)(?:-([0-9]+)-g[0-9a-f]+)?(?:-dirty)?$`)

// release takes a version apart. ok is false for one that says nothing about what came before or after it.
func release(version string) (r released, ok bool) {
	m := described.FindStringSubmatch(version)
	if m == nil || !semver.IsValid(m[1]) || strings.HasPrefix(m[1], "v0.0.0-") {
		return released{}, false
	}
	r.tag = m[1]
	r.commits, _ = strconv.Atoi(m[2]) // 0 where there is none
	return r, true
}

func (r released) compare(other released) int {
	return cmp.Or(semver.Compare(r.tag, other.tag), cmp.Compare(r.commits, other.commits))
}

// program is what a file says of itself.
type program struct {
	path    string // Go's name of its package; "" where it is not of Go, or does not say
	version string // "" where it is not known; as in "v1.2.3" where it can be compared
}

func (p program) named() string {
	if p.version == "" {
		return "unknown"
	}
	return p.version
}

// versionFlag finds the version that a linker was told.
var versionFlag = regexp.MustCompile(`-X[ =]'?"?(?:main\.version|[^ ]+/buildversion\.BuildVersion)=([^ '"]+)`)

// identify reads what go build notes in a program. A plugin whose version it does not note is asked.
func identify(ctx context.Context, file string) program {
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return program{}
	}
	p := program{path: info.Path}
	for _, s := range info.Settings {
		if m := versionFlag.FindStringSubmatch(s.Value); s.Key == "-ldflags" && m != nil {
			p.version = withV(m[1])
			return p
		}
	}
	if semver.IsValid(info.Main.Version) {
		p.version = info.Main.Version
		return p
	}
	p.version = ask(ctx, file)
	return p
}

// IsOurs tells whether the file is Weft's plugin, of whatever version and under whatever name.
func IsOurs(file string) bool {
	info, err := buildinfo.ReadFile(file)
	return err == nil && info.Path == ownProgram
}

// about is what plugins say of themselves when they are run by hand: "CNI bridge plugin v1.9.1", "weft v1.0.0: ...".
var about = regexp.MustCompile(`(?m)^(?:CNI \S+ plugin|weft) (?:version )?(\S+?):?(?: .*)?$`)

// askFor is how long a plugin may take to answer. It takes milliseconds.
const askFor = 5 * time.Second

// ask runs a plugin without a command, upon which it says what it is. "" is its answer where it does not run here.
func ask(ctx context.Context, file string) string {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	cmd := exec.CommandContext(ctx, file)
	cmd.Env = []string{}
	cmd.WaitDelay = time.Second
	out, _ := cmd.CombinedOutput() // what it said counts, not how it ended
	m := about.FindSubmatch(out)
	if m == nil {
		return ""
	}
	return withV(string(m[1]))
}

// withV writes 1.2.3 as v1.2.3, and leaves other words as they are.
func withV(version string) string {
	if semver.IsValid("v" + version) {
		return "v" + version
	}
	return version
}

// damaged tells whether a file cannot be a program: it is neither a script nor a whole ELF file.
func damaged(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false // what cannot be read is not known to be damaged
	}
	defer f.Close()
	var magic [4]byte
	if n, _ := f.ReadAt(magic[:], 0); n >= 2 && bytes.HasPrefix(magic[:], []byte("#!")) {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	e, err := elf.NewFile(f)
	if err != nil {
		return true
	}
	for _, s := range e.Progs {
		if s.Off+s.Filesz > uint64(info.Size()) {
			return true
		}
	}
	return false
}
