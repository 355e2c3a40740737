complete -c tsp -w ts
