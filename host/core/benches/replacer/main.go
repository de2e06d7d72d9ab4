// Replaces literals in a text with Go's strings.Replacer, as other CI servers mask their logs, and prints bytes per
// second for each line read from standard input: "lines" for line by line, "whole" for the text at once.
//
//	replacer LITERALS TEXT    one literal a line
package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"time"
)

func main() {
	literals, text := read(os.Args[1]), read(os.Args[2])
	var pairs []string
	for _, literal := range strings.Fields(literals) {
		pairs = append(pairs, literal, "***")
	}
	replacer := strings.NewReplacer(pairs...)
	// It builds its table at the first use.
	replacer.Replace(pairs[0])
	lines := strings.SplitAfter(text, "\n")
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		begun := time.Now()
		bytes := 0
		if input.Text() == "whole" {
			bytes = len(replacer.Replace(text))
		} else {
			for _, line := range lines {
				bytes += len(replacer.Replace(line))
			}
		}
		fmt.Println(float64(len(text))/time.Since(begun).Seconds(), bytes)
	}
}

func read(path string) string {
	bytes, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	return string(bytes)
}
