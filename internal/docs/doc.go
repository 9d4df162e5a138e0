// Package docs holds the tests that the documentation tells the truth: README.md and everything in docs.
//
// How does a page stay right when the code changes? It quotes code that is compiled, and this package
// fails when a quote differs from its source.
//
//	<!-- code: router/example_content_test.go ExampleContent -->   the fence below is this declaration
//	<!-- picture: contentBasedRouter -->                           the fence below is this flow, drawn
//	<!-- trace: Example_contentBasedRouter -->                     the fence below is this example's trace
//	`TestLaw2NothingIsAcknowledgedTooEarly`                        is linked to the file that has it
//
// A Go fence without a quote is built in a module of its own, as a user has it, and run; what a whole
// program prints is the fence that follows. Names of ours in the text must exist, and links must lead
// somewhere.
//
//	go test ./internal/docs            what differs
//	go test ./internal/docs -update    rewrites quotes, pictures, traces and the links of tests
package docs
