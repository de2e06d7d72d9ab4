#!/usr/bin/env bash
# component.sh start|stop|kill|pause|resume|pid COMPONENT: faults, one component at a time.
. "$(dirname "$0")/lib.sh"
. ./components.sh
verb=$1 component=$2
running() { pid_of "$component" || { say "$component does not run"; exit 1; }; }
case $verb in
  start) start_component "$component" ;;
  stop) stop "$component" ;;
  kill) stop "$component" KILL ;;
  pause) kill -STOP "$(running)" ;;
  resume) kill -CONT "$(running)" ;;
  pid) running ;;
  *) say "no such verb: $verb"; exit 2 ;;
esac
