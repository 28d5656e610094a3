package container

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
)

// ShortIDLength is the number of hexadecimal digits in `docker ps`.
const ShortIDLength = 12

const fullIDLength = 64 // hexadecimal digits

// ShortID truncates an id to the length used in labels and output. Shorter ids, names of
// system containers and keys of rootless ones are returned unchanged.
func ShortID(id string) string {
	if len(id) > ShortIDLength && isHex(id) {
		return id[:ShortIDLength]
	}
	return id
}

// IsFullID reports whether id is a full Docker container id (64 hex digits).
func IsFullID(id string) bool {
	if len(id) != fullIDLength {
		return false
	}
	for i := range len(id) {
		if c := id[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// HashID makes an id of 64 hex digits from a text, the same one each time.
func HashID(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// Key identifies a container of a host by its owner and id: the id of root's, ID@USER of a
// rootless one, because a user chooses the ids of his own. No id has an @.
func Key(user uint32, id string) string {
	if user == 0 {
		return id
	}
	return id + "@" + strconv.FormatUint(uint64(user), 10)
}

// MaxID is the length of the longest id that a runtime may give.
const MaxID = 128

// ValidID reports whether an id is 1 to MaxID characters of A-Z a-z 0-9 _ . - only, as
// those of containers and the names of system containers are.
func ValidID(id string) bool {
	if id == "" || len(id) > MaxID {
		return false
	}
	for i := range len(id) {
		switch b := id[i]; {
		case b >= '0' && b <= '9', b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b == '_', b == '.', b == '-':
		default:
			return false
		}
	}
	return true
}
