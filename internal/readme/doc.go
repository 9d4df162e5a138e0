// Package readme holds the test that a new user's first hour works: every snippet of the README is
// built and run in a module of its own, and its picture is the flow's.
package readme
