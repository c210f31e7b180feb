package network

import (
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-network/weft/network/kernel"
)

func TestReadKey(t *testing.T) {
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(i + 1)
	}
	good := base64.StdEncoding.EncodeToString(key)
	for _, test := range []struct {
		name, text, want string // want: in the error
	}{
		{"as wg genkey prints it", good + "\n", ""},
		{"as flanneld writes it", good, ""},
		{"empty", "", "holds no private key"},
		{"short", good[:20], "holds no private key"},
		{"too long", base64.StdEncoding.EncodeToString(append(key, 1)), "holds no private key"},
		{"zeros", base64.StdEncoding.EncodeToString(make([]byte, 32)), "nothing but zeros"},
		{"binary", "\x00\xff", "holds no private key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "wireguard.key")
			if err := os.WriteFile(file, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := readKey(file)
			switch {
			case test.want == "" && (err != nil || got != clamped(kernel.Key(key))):
				t.Errorf("the key is another one, error %v", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("error %v, want %q in it", err, test.want)
			case err != nil && len(test.text) > 8 && strings.Contains(err.Error(), test.text[:8]):
				t.Errorf("the error shows what was read: %v", err)
			}
		})
	}
	if _, err := readKey(filepath.Join(t.TempDir(), "none")); !os.IsNotExist(err) && err == nil {
		t.Errorf("error %v of a file that is not there", err)
	}
	if _, err := readKey(""); err != fs.ErrNotExist {
		t.Errorf("error %v without a file", err)
	}
}

func FuzzParseKey(f *testing.F) {
	for _, seed := range []string{"", "AAAA", "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=", "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=\n", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		key, err := parseKey("file", text)
		if (err == nil) != (key != kernel.Key{}) {
			t.Errorf("a key: %t, and the error %v", key != kernel.Key{}, err)
		}
		if key != (kernel.Key{}) && key != clamped(key) {
			t.Error("the key is not as the kernel keeps it")
		}
	})
}
