# A linear model of one column by another.
rows <- read.csv(Sys.getenv("RONDO_INPUT_ROWS"))
formula <- reformulate(Sys.getenv("RONDO_PARAM_X"), Sys.getenv("RONDO_PARAM_Y"))
found <- coef(lm(formula, rows))
table <- data.frame(name = names(found), value = unname(found))
write.csv(table, Sys.getenv("RONDO_OUTPUT_COEFFICIENTS"), row.names = FALSE)
