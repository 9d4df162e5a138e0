// Package domain is what the webhooks example is about: GitHub's events, the activities they stand
// for, and digests of activities. It is plain Go and knows nothing of messaging: the flow around it is
// wiring.
//
//	line -> Parse -> Event -> From<Family> -> Activity -> Split -> Enrich -> Combine -> Digest
//
// Every function is pure and safe for concurrent use. An input that makes no sense is an [Invalid]
// error with its [Reason], never a panic.
package domain
