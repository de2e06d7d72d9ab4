// Prints what BuildKit's parser and Kaniko make of Dockerfiles: the expectations of host/core/src/dockerfile/corpus.
//
//	go run . ../../../host/core/src/dockerfile/corpus/*.Dockerfile
//
// writes an .ast.json beside each. Build args stand in comments of the form `#arg NAME=value` at the end of a file.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/osscontainertools/kaniko/pkg/config"
	"github.com/osscontainertools/kaniko/pkg/constants"
	"github.com/osscontainertools/kaniko/pkg/dockerfile"
	"github.com/osscontainertools/kaniko/pkg/util"
	"github.com/sirupsen/logrus"
)

type instruction struct {
	Keyword string   `json:"keyword"`
	Flags   []string `json:"flags"`
	// Only where the parser keeps them in one piece.
	Arguments *string  `json:"arguments"`
	Heredocs  []string `json:"heredocs"`
	Line      int      `json:"line"`
}

type stage struct {
	Name     string `json:"name"`
	Platform string `json:"platform"`
	Line     int    `json:"line"`
	// "scratch", "stage N" or "image REF"; empty if Kaniko fails on it.
	Base string `json:"base"`
}

type ast struct {
	// What failed; empty if nothing did.
	Error        string        `json:"error"`
	Instructions []instruction `json:"instructions"`
	Stages       []stage       `json:"stages"`
}

func main() {
	logrus.SetLevel(logrus.PanicLevel)
	os.Setenv("FF_KANIKO_SQUASH_STAGES", "false")
	for _, path := range os.Args[1:] {
		out, err := json.MarshalIndent(read(path), "", " ")
		if err != nil {
			panic(err)
		}
		name := strings.TrimSuffix(path, ".Dockerfile") + ".ast.json"
		if err := os.WriteFile(name, append(out, '\n'), 0o644); err != nil {
			panic(err)
		}
	}
}

func read(path string) (result ast) {
	defer func() {
		if r := recover(); r != nil {
			result = ast{Error: fmt.Sprint(r)}
		}
	}()
	text, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return ast{Error: err.Error()}
	}
	for _, node := range parsed.AST.Children {
		one := instruction{Keyword: strings.ToUpper(strings.ToLower(node.Value)), Flags: node.Flags, Line: node.StartLine}
		if node.Next != nil && node.Next.Next == nil && node.Next.Children == nil && !node.Attributes["json"] {
			one.Arguments = &node.Next.Value
		}
		for _, heredoc := range node.Heredocs {
			one.Heredocs = append(one.Heredocs, heredoc.Content)
		}
		result.Instructions = append(result.Instructions, one)
	}
	opts := &config.KanikoOptions{DockerfilePath: path, BuildArgs: args(string(text))}
	stages, metaArgs, err := dockerfile.ParseStages(opts)
	if err == nil && len(stages) == 0 {
		err = errors.New("no stage")
	}
	if err != nil {
		result.Error = err.Error()
		return result
	}
	for i, s := range stages {
		result.Stages = append(result.Stages, stage{
			Name: s.Name, Platform: s.Platform, Line: s.Location[0].Start.Line, Base: base(i, path, opts, metaArgs),
		})
	}
	return result
}

// base asks Kaniko for the stages up to one that is the target.
func base(index int, path string, opts *config.KanikoOptions, metaArgs []instructions.ArgCommand) (found string) {
	defer func() {
		if r := recover(); r != nil {
			found = ""
		}
	}()
	stages, _, err := dockerfile.ParseStages(opts)
	if err != nil {
		return ""
	}
	stages = stages[:index+1]
	dockerfile.GetRemoteOnBuild = func(string, []instructions.ArgCommand, *config.KanikoOptions) ([]string, error) {
		return nil, nil
	}
	made, err := dockerfile.MakeKanikoStages(opts, stages, metaArgs)
	if err != nil {
		return ""
	}
	last := made[len(made)-1]
	var values []string
	for _, meta := range metaArgs {
		for _, arg := range meta.Args {
			values = append(values, arg.Key+"="+arg.ValueString())
		}
	}
	// As image.RetrieveSourceImageInternal does, which would go on to fetch the image.
	name, err := util.ResolveEnvironmentReplacement(last.BaseName, append(values, opts.BuildArgs...), false)
	switch {
	case err != nil:
		return ""
	case name == constants.NoBaseImage && !last.BaseImageStoredLocally:
		return "scratch"
	case last.BaseImageStoredLocally:
		return fmt.Sprintf("stage %d", last.BaseImageIndex)
	}
	return "image " + name
}

func args(text string) []string {
	var args []string
	for _, line := range strings.Split(text, "\n") {
		if arg, ok := strings.CutPrefix(line, "#arg "); ok {
			args = append(args, arg)
		}
	}
	return args
}
