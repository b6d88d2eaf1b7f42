// Measures Go's pools for object_pool_bench, which asks through standard input, one run a line:
//
//	POOL GOROUTINES OBJECTS USES
//
// and gets back the wall-clock nanoseconds per use, all goroutines together, one line each. The line "?" asks
// for the version of Go.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"
)

var makers = map[string]func(objects int) pool{
	"sync.Pool":       newSyncPool,
	"channel":         newChannelPool,
	"mutex+slice":     newSlicePool,
	"channel+factory": newConnectionPool,
}

func run(p pool, goroutines, uses int) time.Duration {
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	ready.Add(goroutines)
	done.Add(goroutines)
	for i := 0; i < goroutines; i++ {
		go func() {
			p.oneUse()
			ready.Done()
			<-start
			for n := uses; n > 0; n-- {
				p.oneUse()
			}
			done.Done()
		}()
	}
	ready.Wait()
	begin := time.Now()
	close(start)
	done.Wait()
	return time.Since(begin)
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		if in.Text() == "?" {
			fmt.Println(runtime.Version())
			continue
		}
		var name string
		var goroutines, objects, uses int
		_, err := fmt.Sscan(in.Text(), &name, &goroutines, &objects, &uses)
		newPool := makers[name]
		if err != nil || newPool == nil || goroutines < 1 || objects < 1 || uses < goroutines {
			fmt.Fprintf(os.Stderr, "not a run: %q\n", in.Text())
			os.Exit(2)
		}
		runtime.GC() // what earlier runs left is not this one's to clear away
		each := uses / goroutines
		taken := run(newPool(objects), goroutines, each)
		fmt.Println(float64(taken.Nanoseconds()) / float64(each*goroutines))
	}
}
