# ---
# jupyter:
#   kernelspec:
#     name: python3
# ---

# %% [markdown]
# # Title

# %% tags=["parameters"]
x: int = 1
name = "a"  # text

# %%
print(x)
