package config

import "time"

// day is not in package time, since the length of days differs; limits ignore that.
const day = 24 * time.Hour

// Upper limits. A larger value is a typing error, or overflows later: neither may
// decide about kills.
const (
	// MaxSampleAgeLimit is Prometheus' default look-back: older samples are not in
	// results.
	MaxSampleAgeLimit = 5 * time.Minute

	maxInterval    = time.Hour
	maxFor         = 30 * day
	maxAnnounce    = 7 * day
	maxGrace       = time.Hour
	maxCooldown    = 30 * day
	maxResumeAfter = 30 * day
	maxKills       = 1000
	maxPerHour     = 100_000
	maxKeep        = 10_000
	maxKeeps       = 20
	maxWindows     = 100
	maxStopAfter   = 1000
	maxRules       = 100
)

// Limits of the file, so that each is refused quickly.
const (
	maxFile  = 1 << 20 // bytes
	maxNodes = 200_000 // values, those behind an alias counted each time
	nodeText = 100     // bytes of a string that count as one more value
	// The time to check a query grows with the square of its length.
	maxQuery   = 10_000  // bytes
	maxQueries = 100_000 // bytes of all queries of a file

	maxProblems = 100  // listed
	maxMessage  = 1000 // characters of a message
	maxQuoted   = 60   // characters of a value or key in a message
)

// Limits of policy tests.
const (
	maxTestScrape   = 5 * time.Minute // a series without a sample for longer has ended
	maxTestDuration = 366 * day
	maxTestAge      = 3650 * day
	maxTestValues   = 1_000_000 // of a series
	maxTestSamples  = 5_000_000 // of a case
	firstTestYear   = 1980
	lastTestYear    = 2199
)
