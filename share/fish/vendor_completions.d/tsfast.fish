complete -c tsfast -w ts
