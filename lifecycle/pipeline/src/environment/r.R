# Which packages are installed, with all that they need: a line each for R itself, for each package, and for
# each one that is missing.
wanted <- commandArgs(TRUE)
all <- installed.packages(noCache = TRUE)
all <- all[!duplicated(rownames(all)), , drop = FALSE]
say <- function(...) cat(paste(..., sep = "\t"), "\n", sep = "")
say("r", as.character(getRversion()), R.home())
needs <- function(name) {
  fields <- all[name, c("Depends", "Imports")]
  parts <- unlist(strsplit(fields[!is.na(fields)], ","))
  names <- trimws(sub("[[:space:]]*[(].*$", "", parts))
  setdiff(names[nzchar(names)], "R")
}
open <- wanted
for_whom <- setNames(rep("", length(wanted)), wanted)
seen <- character()
while (length(open)) {
  name <- open[1]
  open <- open[-1]
  if (name %in% seen) next
  seen <- c(seen, name)
  if (!(name %in% rownames(all))) {
    say("missing", name, for_whom[[name]])
    next
  }
  base <- identical(unname(all[name, "Priority"]), "base")
  say(if (base) "base" else "package", name, all[name, "Version"], file.path(all[name, "LibPath"], name))
  for (need in setdiff(needs(name), names(for_whom))) for_whom[[need]] <- name
  open <- c(open, needs(name))
}
