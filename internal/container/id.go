package container

import "regexp"

// ShortIDLength is how many hexadecimal digits `docker ps` shows of an id.
const ShortIDLength = 12

var fullID = regexp.MustCompile(`^[0-9a-f]{64}$`)

// ShortID cuts an id to the length that labels and people use. Shorter ids,
// and those that are not Docker's, come back whole when they are short.
func ShortID(id string) string {
	if len(id) > ShortIDLength {
		return id[:ShortIDLength]
	}
	return id
}

// IsFullID tells whether id is a complete Docker container id (64 hex digits).
func IsFullID(id string) bool { return fullID.MatchString(id) }
